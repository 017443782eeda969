//! The document root of a release if `document_root` is not set.
//!
//! It is the release itself if that has the front controller or an index file. So a release that worked
//! without the key works as before. Else it is the directory in which frameworks keep their front
//! controller, if the release has one there. Then the rest of the release (`.env`, `vendor/`, `config/`)
//! is out of reach, and the front controller is the only script that may run. A framework of this kind has
//! no other script below the document root, so any other script there was uploaded or forgotten. An
//! application that has more scripts is recognized by one of its files.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};

use super::Gateway;

/// Where frameworks keep their front controller, the likeliest first: Symfony, Laravel, `CodeIgniter`,
/// Shopware, TYPO3; Drupal, `WordPress` as Bedrock; `CakePHP`; Magento; others.
pub const USUAL_ROOTS: [&str; 5] = ["public", "web", "webroot", "pub", "htdocs"];

/// Files of applications that run other scripts than the front controller: TYPO3 (`typo3/index.php`),
/// Drupal (`update.php`), `WordPress` (`wp-admin/`, `wp-login.php`), also as Bedrock has it (`wp/`), and
/// Magento (`static.php`, `get.php`).
const HAVE_MORE_SCRIPTS: [&str; 6] = [
    "typo3/index.php",
    "core/rebuild.php",
    "wp-load.php",
    "wp/wp-load.php",
    "update.php",
    "get.php",
];

/// The document root of a release, and which scripts may run there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentRoot {
    /// The path below the release. Empty: the release itself.
    pub below: String,
    /// Whether the front controller is the only script, by default.
    pub only_front_controller: bool,
}

impl DocumentRoot {
    /// Whether the release itself is the document root.
    pub fn is_release(&self) -> bool {
        self.below.is_empty()
    }
}

impl Gateway {
    /// The configured document root; None: it depends on the release.
    pub fn configured_root(&self) -> Option<&str> {
        self.document_root.as_ref().map(|root| match root.get_ref().as_str() {
            "." => "",
            root => root,
        })
    }

    /// The document root of the open release `dir`.
    pub fn document_root(&self, dir: impl AsFd) -> DocumentRoot {
        if let Some(root) = self.configured_root() {
            return DocumentRoot { below: root.to_owned(), only_front_controller: false };
        }
        let has = |below: &str, file: &str| {
            let below = if below.is_empty() { "." } else { below };
            statat(&dir, format!("{below}/{file}"), AtFlags::empty())
                .is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile)
        };
        let front = self.front_controller.get_ref();
        let is_front_in = |below: &str| !front.is_empty() && has(below, front);
        if is_front_in("") || self.index.get_ref().iter().any(|name| has("", name)) {
            return DocumentRoot::default();
        }
        let usual = USUAL_ROOTS.into_iter().find(|below| is_front_in(below));
        let Some(below) = usual else { return DocumentRoot::default() };
        let only_front_controller = self.deny_defaults
            && self.scripts.get_ref().is_empty()
            && !HAVE_MORE_SCRIPTS.iter().any(|script| has(below, script));
        DocumentRoot { below: below.to_owned(), only_front_controller }
    }

    /// Why a release has this document root, if none is configured.
    pub fn reason_for(&self, root: &DocumentRoot) -> String {
        let front = self.front_controller.get_ref();
        match (root.is_release(), root.only_front_controller) {
            (true, _) => {
                "the release itself, as it has a front page, or no usual directory has one"
                    .to_owned()
            }
            (false, true) => {
                format!("the release has {}/{front}, the only script that may run", root.below)
            }
            (false, false) => format!("the release has {}/{front}", root.below),
        }
    }

    /// The document root of the release at a path. If the release cannot be opened: the configured one, or the
    /// release itself.
    pub fn document_root_at(&self, release: &Path) -> DocumentRoot {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, release, flags, Mode::empty()) {
            Ok(dir) => self.document_root(dir),
            Err(_) => DocumentRoot {
                below: self.configured_root().unwrap_or_default().to_owned(),
                only_front_controller: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(settings: &str, files: &[&str]) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let settings: Gateway = toml::from_str(settings).unwrap();
        let root = settings.document_root_at(dir.path());
        (root.below, root.only_front_controller)
    }

    fn is(below: &str, only_front_controller: bool) -> (String, bool) {
        (below.to_owned(), only_front_controller)
    }

    #[test]
    fn release_that_has_a_front_page_is_the_document_root() {
        assert_eq!(found("", &[]), is("", false));
        assert_eq!(found("", &["index.php"]), is("", false));
        assert_eq!(found("", &["index.php", "public/index.php"]), is("", false));
        assert_eq!(found("", &["index.html", "public/index.php"]), is("", false));
        assert_eq!(found("", &["app.php", "public/logo.png", "public/index.html"]), is("", false));
    }

    #[test]
    fn usual_directory_with_the_front_controller_is_the_document_root() {
        for below in USUAL_ROOTS {
            let files = [format!("{below}/index.php"), "vendor/autoload.php".to_owned()];
            assert_eq!(found("", &files.each_ref().map(String::as_str)), is(below, true));
        }
        assert_eq!(found("", &["web/index.php", "public/index.php"]), is("public", true));
        assert_eq!(found("", &["web/index.php", "public/x.php"]), is("web", true));
        let front = "front_controller = 'app.php'";
        assert_eq!(found(front, &["web/app.php", "public/index.php"]), is("web", true));
        assert_eq!(found("front_controller = ''", &["public/index.php"]), is("", false));
        assert_eq!(found("", &["public/index.php/x"]), is("", false));
    }

    #[test]
    fn frameworks_with_more_scripts_may_run_them() {
        for (root, script) in [
            ("public", "typo3/index.php"),
            ("web", "core/rebuild.php"),
            ("web", "wp/wp-load.php"),
            ("pub", "get.php"),
        ] {
            let files = [format!("{root}/index.php"), format!("{root}/{script}")];
            assert_eq!(found("", &files.each_ref().map(String::as_str)), is(root, false));
        }
        let files = ["public/index.php"];
        assert_eq!(found("scripts = ['index.php', 'a.php']", &files), is("public", false));
        assert_eq!(found("deny_defaults = false", &files), is("public", false));
    }

    #[test]
    fn configured_document_root_holds_for_every_release() {
        let files = ["public/index.php"];
        assert_eq!(found("document_root = ''", &files), is("", false));
        assert_eq!(found("document_root = '.'", &files), is("", false));
        assert_eq!(found("document_root = 'none'", &files), is("none", false));
    }
}
