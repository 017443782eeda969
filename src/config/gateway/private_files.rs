//! Files that no visitor should get, although they are below the document root: what `deny_defaults`
//! denies.
//!
//! Only names that a tool or an editor gives, and that no site publishes on purpose. Archives are not
//! among them: many sites offer downloads. `check` names these.

use memchr::{memchr_iter, memrchr};

/// Directories of package managers. Only those of the release itself: themes and plug-ins have assets in
/// directories of the same names.
const PACKAGES: [&str; 2] = ["vendor", "node_modules"];
/// Files of package managers at the top of the release; `auth.json` has passwords of Composer.
const OF_PACKAGES: [&str; 9] = [
    "auth.json",
    "composer.json",
    "composer.lock",
    "composer.phar",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
];
/// Backups, dumps and templates, in any directory, in lower and upper case.
const ENDINGS: [&str; 14] = [
    "~", ".bak", ".old", ".orig", ".save", ".swp", ".swo", ".dist", ".sql", ".sql.gz", ".sql.bz2",
    ".sql.xz", ".sql.zst", ".sql.zip",
];
/// What often is private, but may be meant for visitors.
const SUSPICIOUS: [&str; 14] = [
    ".7z", ".bz2", ".db", ".dump", ".gz", ".key", ".log", ".pem", ".rar", ".sqlite", ".sqlite3",
    ".tar", ".tgz", ".zip",
];
/// Directories below the document root into which visitors upload files, or which an application fills at
/// run time: `WordPress`, also as Bedrock has it, TYPO3, Drupal. Each of these ships an `.htaccess` or
/// documents a rule by which no script runs there; the gateway reads no `.htaccess`.
const UPLOADS: [&str; 5] =
    ["wp-content/uploads", "app/uploads", "fileadmin", "typo3temp", "sites/default/files"];

/// Whether `deny_defaults` denies a file of the release. `path`: below the release, decoded.
pub fn is_private(path: &str) -> bool {
    let top = path.split_once('/').map(|(top, _)| top);
    let is_below = |dir: &&str| top.is_some_and(|top| top.eq_ignore_ascii_case(dir));
    PACKAGES.iter().any(is_below) || is_of_packages(path) || ends_with_one_of(path, &ENDINGS)
}

/// Whether a file may be meant for visitors, but often is not: archives, logs, databases, keys, backups,
/// files of package managers. `path`: below the document root.
pub fn is_suspicious(path: &str) -> bool {
    ends_with_one_of(path, &SUSPICIOUS) || ends_with_one_of(path, &ENDINGS) || is_of_packages(path)
}

fn is_of_packages(path: &str) -> bool {
    OF_PACKAGES.iter().any(|name| path.eq_ignore_ascii_case(name))
}

/// Whether a file is PHP code, or a copy of it (`index.php.bak`). Clients must not read it.
pub fn is_code(path: &str) -> bool {
    let path = path.as_bytes();
    let name = &path[memrchr(b'/', path).map_or(0, |slash| slash + 1)..];
    memchr_iter(b'.', name).any(|dot| {
        let rest = &name[dot + 1..];
        rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"php"))
            || [&b"phtml"[..], b"phar"].iter().any(|last| last.eq_ignore_ascii_case(rest))
    })
}

/// Whether a script is in a directory for uploads. `path`: below the document root.
pub(super) fn is_upload(path: &str) -> bool {
    let is_in = |dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    UPLOADS.iter().any(|dir| is_in(dir))
}

fn ends_with_one_of(path: &str, endings: &[&str]) -> bool {
    let path = path.as_bytes();
    endings.iter().any(|ending| {
        let at = path.len().saturating_sub(ending.len());
        path[at..].eq_ignore_ascii_case(ending.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_dumps_and_backups_are_private() {
        for path in [
            "vendor/autoload.php",
            "Vendor/composer/installed.json",
            "node_modules/a/b.js",
            "composer.json",
            "composer.lock",
            "package-lock.json",
            "auth.json",
            "dump.sql",
            "a/b/Dump.SQL.GZ",
            "config.php~",
            "a/settings.bak",
            "phpunit.xml.dist",
        ] {
            assert!(is_private(path), "{path}");
        }
        for path in [
            "",
            "vendor",
            "index.php",
            "wp-content/plugins/x/vendor/a.js",
            "wp-content/plugins/x/composer.json",
            "vendors/a.css",
            "packages.json",
            "download.tar.gz",
            "a.sqlx",
            "old/a.css",
        ] {
            assert!(!is_private(path), "{path}");
        }
    }

    #[test]
    fn archives_logs_and_keys_are_suspicious() {
        for path in ["backup.zip", "a/debug.LOG", "x.tar.gz", "db.sqlite", "server.key", "a.sql"] {
            assert!(is_suspicious(path), "{path}");
        }
        assert!(!is_suspicious("a.css") && !is_suspicious("log/a.png"));
    }

    #[test]
    fn directories_of_uploads_are_known() {
        assert!(is_upload("wp-content/uploads/2026/x.php") && is_upload("fileadmin/x.php"));
        assert!(!is_upload("wp-content/plugins/x.php") && !is_upload("fileadmin.php"));
    }
}
