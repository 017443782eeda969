//! What visitors of a gateway's pool can get: the document root that is in effect, files below it that
//! look private, and scripts that the defaults keep from running.

use std::path::{Path, PathBuf};

use super::walk::{self, Walk, is_hidden};
use crate::config::{DocumentRoot, Gateway, is_code, is_private, is_suspicious};
use crate::finding::Finding;

/// The most files that are named.
const NAMED_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Reachable {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
}

/// Looks at a release. `sends_files`: false for a pool whose server gets every path.
pub(super) fn check(settings: &Gateway, release: &Path, sends_files: bool) -> Reachable {
    let mut found = Reachable::default();
    if !sends_files {
        return found;
    }
    let root = settings.document_root_at(release);
    if settings.configured_root().is_none() && !root.is_release() {
        found.notes.push(format!("document root: {}", settings.reason_for(&root)));
    }
    let dir = if root.is_release() { release.to_owned() } else { release.join(&root.below) };
    // Other checks report what cannot be read.
    let Ok(walk) = Walk::through(&dir, is_hidden) else { return found };
    let files = Files { settings, root: &root, all: &walk.files };
    found.findings.extend(files.reachable(&dir));
    found.findings.extend(files.idle_scripts(&dir));
    found.notes.extend(files.denied());
    found
}

/// The files below a document root, sorted.
struct Files<'a> {
    settings: &'a Gateway,
    root: &'a DocumentRoot,
    all: &'a [PathBuf],
}

impl Files<'_> {
    /// The files that look private, and that the gateway would send.
    fn reachable(&self, dir: &Path) -> Option<Finding> {
        let looks_private = |path: &str| {
            is_suspicious(path) && !self.is_copy(path) || self.root.is_release() && is_private(path)
        };
        let is_sent = |path: &str| {
            let settings = self.settings;
            !is_code(path) && !settings.denies(path) && !settings.denies_by_default(self.root, path)
        };
        let named = self.named(|path| looks_private(path) && is_sent(path))?;
        Some(Finding::warning(
            format!("visitors can get files that look private, in {}: {named}", walk::shown(dir)),
            "remove them from the release, or name them in deny of [gateway]",
        ))
    }

    /// `app.js.gz` beside `app.js` is for clients that accept it.
    fn is_copy(&self, path: &str) -> bool {
        let plain = path.strip_suffix(".gz").map(PathBuf::from);
        plain.is_some_and(|plain| self.all.binary_search(&plain).is_ok())
    }

    /// Scripts beside the front controller that do not run by default.
    fn idle_scripts(&self, dir: &Path) -> Option<Finding> {
        let front = self.settings.front_controller.get_ref();
        let is_idle =
            |path: &str| !path.contains('/') && path.as_bytes().ends_with(b".php") && path != front;
        let named = self.named(is_idle).filter(|_| self.root.only_front_controller)?;
        let below = &self.root.below;
        Some(Finding::warning(
            format!(
                "scripts in {} do not run, because document_root is not set: {named}",
                walk::shown(dir)
            ),
            format!(
                "if they should run, set document_root = \"{below}\" in [gateway], and name them in scripts"
            ),
        ))
    }

    /// The names at the top of the release that get 403 by default.
    fn denied(&self) -> Option<String> {
        let denied = self.all.iter().filter_map(|path| path.to_str());
        let denied = denied.filter(|path| self.settings.denies_by_default(self.root, path));
        let mut tops: Vec<&str> =
            denied.map(|path| path.split_inclusive('/').next().unwrap_or(path)).collect();
        tops.dedup();
        (!tops.is_empty()).then(|| format!("deny_defaults denies {}", listed(&tops)))
    }

    fn named(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let paths = self.all.iter().filter_map(|path| path.to_str());
        let found: Vec<&str> = paths.filter(|path| is_it(path)).collect();
        (!found.is_empty()).then(|| listed(&found))
    }
}

/// The first names, and how many more there are.
fn listed(names: &[&str]) -> String {
    let first: Vec<String> =
        names.iter().take(NAMED_MAX).map(|name| walk::shown(Path::new(name))).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(settings: &str, files: &[&str]) -> (Vec<String>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = check(&toml::from_str(settings).unwrap(), dir.path(), true);
        let at = dir.path().display().to_string();
        let messages = found.findings.into_iter().map(|it| it.message.replace(&at, "RELEASE"));
        (messages.collect(), found.notes)
    }

    #[test]
    fn files_that_look_private_are_named() {
        let files = [
            "index.php",
            "composer.json",
            "vendor/a/x.json",
            "vendor/b.json",
            "dump.sql",
            "site.zip",
            "app.js",
            "app.js.gz",
            ".env",
        ];
        let (messages, notes) = found("", &files);
        let told = "visitors can get files that look private, in RELEASE: ";
        assert_eq!(messages, [format!("{told}site.zip")]);
        assert_eq!(notes, ["deny_defaults denies composer.json, dump.sql, vendor/"]);
        assert_eq!(found("deny = ['*.zip']", &files).0, [""; 0]);
        let (messages, notes) = found("deny_defaults = false", &files);
        let all = "composer.json, dump.sql, site.zip, vendor/a/x.json, vendor/b.json";
        assert_eq!((messages, notes), (vec![format!("{told}{all}")], Vec::new()));
        let many: Vec<String> = (0..100).map(|number| format!("{number:03}.zip")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(found("", &many).0[0].ends_with("004.zip and 95 more"));
    }

    #[test]
    fn default_document_root_and_scripts_that_do_not_run_are_named() {
        let files =
            ["public/index.php", "public/old.php", "public/vendor/a.js", "public/a.sql", "b.zip"];
        let (messages, notes) = found("", &files);
        assert_eq!(
            messages,
            [
                "visitors can get files that look private, in RELEASE/public: a.sql",
                "scripts in RELEASE/public do not run, because document_root is not set: old.php",
            ]
        );
        assert_eq!(
            notes,
            ["document root: the release has public/index.php, the only script that may run"]
        );
        let (messages, notes) = found("document_root = 'public'\ndeny = ['*.sql']", &files);
        assert!(messages.is_empty() && notes.is_empty(), "{messages:?} {notes:?}");
    }
}
