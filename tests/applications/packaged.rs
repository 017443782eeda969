//! What a site needs for applications from Debian packages.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use harness::Site;
use harness::served::{Served, certify};

/// A site for HTTP and HTTPS, with all modules of PHP; nothing runs. `pool`: more settings of the pool.
pub(crate) fn site(pool: &str) -> Site {
    let site = Served::site_with_tls(pool, "", &["a"]);
    certify(&site, "a", "DNS:a.test", "90");
    site.load_all_php_modules();
    site
}

/// A directory in which PHP may write.
pub(crate) fn writable(site: &Site, below: &str) -> PathBuf {
    let dir = site.path(below);
    fs::create_dir_all(&dir).unwrap();
    let account = nix::unistd::User::from_name("www-data").unwrap().unwrap();
    chown(&dir, Some(account.uid.as_raw()), Some(account.gid.as_raw())).unwrap();
    dir
}

/// A release with the files of a package.
pub(crate) fn release(site: &Site, name: &str, packaged: &str) -> PathBuf {
    let dir = site.path(&format!("www/{name}"));
    fs::remove_dir_all(&dir).unwrap();
    let copy = ["-rL", packaged, dir.to_str().unwrap()];
    assert!(Command::new("cp").args(copy).status().unwrap().success());
    dir
}
