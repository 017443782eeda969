//! The servers that the tests need. A missing server fails the test.

use std::env;
use std::fs::{self, DirEntry};
use std::path::PathBuf;

/// Debian's name for Apache.
pub(super) fn apache() -> PathBuf {
    server("apache2")
}

/// A web server, by its name: that of Debian's package, and of the program in it.
pub fn server(name: &str) -> PathBuf {
    let mut programs = dirs().map(|dir| dir.join(name));
    programs
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: install it (Debian: apt-get install {name})"))
}

/// Any php-fpm: `php-fpm8.2` on Debian.
pub fn php_fpm() -> PathBuf {
    let mut programs = dirs().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let is_php_fpm = |entry: &DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with("php-fpm"))
    };
    programs
        .find(is_php_fpm)
        .expect("php-fpm is missing: install it (Debian: apt-get install php-fpm)")
        .path()
}

/// The directories of `PATH`, and `/usr/sbin`, which an ordinary user often does not have there.
fn dirs() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = env::split_paths(&path).collect();
    dirs.into_iter().chain([PathBuf::from("/usr/sbin")])
}
