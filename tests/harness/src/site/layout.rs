//! The files of a site: a copy of the repository's sample.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use crate::package_dir;

const POOLS: &str = "etc/php/fpm/redundant-pools";

/// The directory that lists the modules that PHP loads. Without this directory, PHP loads all installed
/// modules. That takes twice the processor time for each php-fpm and each of its configuration tests.
pub(super) const MODULES: &str = "php.d";

/// A root with a copy of the sample, in a directory whose name begins with `name`.
pub(super) fn copy_of_sample(name: &str) -> TempDir {
    // In /tmp, whatever TMPDIR says: the name of a socket has 107 bytes at most.
    let root = tempfile::Builder::new().prefix(name).tempdir_in("/tmp").unwrap();
    // The account that runs PHP needs access.
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    for dir in ["etc", "www"] {
        copy(&package_dir().join(dir), &root.path().join(dir));
    }
    for dir in ["pid", "sockets"] {
        fs::create_dir(root.path().join(dir)).unwrap();
    }
    // The buffer is filled at each start of PHP: its default of 8 MB takes a seventh of the processor time.
    let modules = "zend_extension=opcache\nextension=posix\nopcache.interned_strings_buffer=1\n";
    write(&root.path().join(MODULES).join("modules.ini"), modules);
    // The demo can have moved the link of the repository.
    let link = root.path().join("www/current.release");
    fs::remove_file(&link).unwrap();
    symlink("release1", &link).unwrap();
    root
}

/// Puts Apache's port into the settings of all pools.
pub(super) fn set_port(root: &Path, port: u16) {
    for pool in fs::read_dir(root.join(POOLS)).unwrap() {
        let settings = pool.unwrap().path().join("pools-manager.toml");
        if let Ok(text) = fs::read_to_string(&settings) {
            fs::write(&settings, text.replace(":82/", &format!(":{port}/"))).unwrap();
        }
    }
}

/// Writes a file, and the directories that it needs.
pub(super) fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Replaces `from`, which must be there, in a file.
pub(super) fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Copies a file or a directory. All users may read the copy, whatever the umask of the checkout was.
fn copy(from: &Path, to: &Path) {
    let metadata = fs::symlink_metadata(from).unwrap();
    if metadata.is_symlink() {
        symlink(fs::read_link(from).unwrap(), to).unwrap();
    } else if metadata.is_dir() {
        fs::create_dir(to).unwrap();
        fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
        fs::set_permissions(to, Permissions::from_mode(0o644)).unwrap();
    }
}

/// What the servers have logged, for the output of a test that failed.
pub(super) fn show_logs(root: &Path) {
    for entry in fs::read_dir(root.join("pid")).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension() == Some("log".as_ref())
            && let Ok(text) = fs::read_to_string(&path)
        {
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            eprintln!("--- {}\n{}", path.display(), last.join("\n"));
        }
    }
}
