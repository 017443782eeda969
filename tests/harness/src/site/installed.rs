//! The servers that the tests need. A missing server fails the test.

use std::fs;
use std::path::PathBuf;

/// Debian's name for Apache.
pub(super) fn apache() -> PathBuf {
    server("apache2")
}

/// A web server, by its name: that of Debian's package, and of the program in it.
pub fn server(name: &str) -> PathBuf {
    find(|it| it == name)
        .unwrap_or_else(|| panic!("{name} is missing: install it (Debian: apt-get install {name})"))
}

/// Any php-fpm: `php-fpm8.2` on Debian.
pub fn php_fpm() -> PathBuf {
    find(|name| name.starts_with("php-fpm"))
        .expect("php-fpm is missing: install it (Debian: apt-get install php-fpm)")
}

fn find(is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.push(PathBuf::from("/usr/sbin")); // often not in an ordinary user's PATH
    let entries = dirs.into_iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let mut found = entries.filter(|entry| entry.file_name().to_str().is_some_and(&is_it));
    found.next().map(|entry| entry.path())
}
