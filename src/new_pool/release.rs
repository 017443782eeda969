//! The framework of a release, and its document root.

use std::fs;
use std::path::Path;

use crate::config::USUAL_ROOTS;

/// What a release is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Framework {
    /// Symfony
    Symfony,
    /// Laravel
    Laravel,
    /// WordPress
    #[value(name = "wordpress")]
    WordPress,
    /// PHP without a framework
    Plain,
}

impl Framework {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Symfony => "Symfony",
            Self::Laravel => "Laravel",
            Self::WordPress => "WordPress",
            Self::Plain => "plain PHP",
        }
    }

    /// The document root of a release that is not known yet.
    pub fn usual_document_root(self) -> &'static str {
        match self {
            Self::Symfony | Self::Laravel => "public",
            Self::WordPress | Self::Plain => "",
        }
    }
}

/// What a look at a release has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its framework.
    pub framework: Framework,
    /// The document root, below the release. Empty: the release itself.
    pub document_root: String,
    /// The script for paths without a file, below the document root.
    pub front_controller: String,
    /// The first symlink to a directory that leads out of the document root.
    pub outward: Option<String>,
}

/// The usual names of front controllers; `app.php` is that of Symfony 3.
const FRONT_CONTROLLERS: [&str; 2] = ["index.php", "app.php"];
/// The directories, below a document root, in which frameworks put symlinks to shared directories.
const SHARED_IN: [&str; 3] = ["", "wp-content", "app"];

/// Looks at a release. Without an `index.php` it is plain PHP whose document root is the release.
/// `document_root` is what the operator has named.
pub fn find(release: &Path, document_root: Option<&str>) -> Found {
    let has = |file: &str| release.join(file).is_file();
    let script = |root: &str| {
        FRONT_CONTROLLERS.into_iter().find(|script| release.join(root).join(script).is_file())
    };
    let found = USUAL_ROOTS.into_iter().chain([""]).find(|root| script(root).is_some());
    let root = document_root.or(found).unwrap_or_default();
    let is_wordpress = ["wp-load.php", "wp-config.php", "wp/wp-load.php"]
        .iter()
        .any(|file| release.join(root).join(file).is_file());
    let framework = if is_wordpress {
        Framework::WordPress
    } else if has("artisan") {
        Framework::Laravel
    } else if has("bin/console") || has("symfony.lock") || has("config/bundles.php") {
        Framework::Symfony
    } else {
        Framework::Plain
    };
    Found {
        framework,
        document_root: root.to_owned(),
        front_controller: script(root).unwrap_or(FRONT_CONTROLLERS[0]).to_owned(),
        outward: outward(&release.join(root)),
    }
}

/// The first symlink to a directory that leads out of the document root, in the usual places.
fn outward(root: &Path) -> Option<String> {
    let real = fs::canonicalize(root).ok()?;
    let entries = SHARED_IN.iter().filter_map(|dir| fs::read_dir(root.join(dir)).ok()).flatten();
    let mut links: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_symlink() && path.is_dir())
        .filter(|path| fs::canonicalize(path).is_ok_and(|to| !to.starts_with(&real)))
        .collect();
    links.sort();
    Some(links.first()?.strip_prefix(root).ok()?.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> (Framework, String, String) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let Found { framework, document_root, front_controller, .. } = find(dir.path(), None);
        (framework, document_root, front_controller)
    }

    #[test]
    fn frameworks_and_document_roots_are_found() {
        for (files, framework, root, script) in [
            (&["bin/console", "public/index.php"][..], Framework::Symfony, "public", "index.php"),
            (&["bin/console", "web/app.php"], Framework::Symfony, "web", "app.php"),
            (&["artisan", "public/index.php"], Framework::Laravel, "public", "index.php"),
            (&["index.php", "wp-load.php"], Framework::WordPress, "", "index.php"),
            (&["web/index.php", "web/wp-config.php"], Framework::WordPress, "web", "index.php"),
            (&["index.php", "public/style.css"], Framework::Plain, "", "index.php"),
            (&["index.php", "public/index.php"], Framework::Plain, "public", "index.php"),
            (&["page.php"], Framework::Plain, "", "index.php"),
        ] {
            assert_eq!(found(files), (framework, root.into(), script.into()), "{files:?}");
        }
    }

    #[test]
    fn symlink_out_of_the_document_root_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("public");
        fs::create_dir_all(public.join("assets")).unwrap();
        fs::create_dir_all(dir.path().join("storage")).unwrap();
        fs::write(public.join("index.php"), "").unwrap();
        std::os::unix::fs::symlink("assets", public.join("a")).unwrap();
        assert_eq!(find(dir.path(), None).outward, None);
        std::os::unix::fs::symlink("../storage", public.join("storage")).unwrap();
        assert_eq!(find(dir.path(), None).outward.as_deref(), Some("storage"));
    }
}
