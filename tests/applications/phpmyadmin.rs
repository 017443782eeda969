//! phpMyAdmin in two releases, with one database server and one directory of temporary files.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::database::Database;
use harness::served::{Served, certify};

const PACKAGED: &str = "/usr/share/phpmyadmin";

/// The site, its gateway and its database.
pub(crate) struct PhpMyAdmin {
    // Fields are dropped in this order.
    pub(crate) served: Served,
    _database: Database,
}

impl PhpMyAdmin {
    /// Two releases that differ in `release.txt` only; release 1 runs.
    pub(crate) fn new() -> Self {
        let site = Served::site_with_tls("", "", &["a"]);
        certify(&site, "a", "DNS:a.test", "90");
        site.load_all_php_modules();
        let database = Database::start(&site.path("db"), "walk");
        let temporary = site.path("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let account = nix::unistd::User::from_name("www-data").unwrap().unwrap();
        chown(&temporary, Some(account.uid.as_raw()), Some(account.gid.as_raw())).unwrap();
        for release in ["release1", "release2"] {
            let dir = site.path(&format!("www/{release}"));
            fs::remove_dir_all(&dir).unwrap();
            let copy = ["-rL", PACKAGED, dir.to_str().unwrap()];
            assert!(Command::new("cp").args(copy).status().unwrap().success());
            configure(&dir, &temporary, database.socket());
            fs::write(dir.join("release.txt"), release).unwrap();
        }
        site.run(&["start"]).succeeds();
        Self { served: Served::serve(site), _database: database }
    }
}

/// The package has its configuration and its temporary files elsewhere.
fn configure(dir: &Path, temporary: &Path, socket: &Path) {
    let vendor = dir.join("libraries/vendor_config.php");
    let text = fs::read_to_string(&vendor).unwrap();
    let text = text
        .replace("'/etc/phpmyadmin/config.inc.php'", "ROOT_PATH . 'config.inc.php'")
        .replace("'/var/lib/phpmyadmin/tmp/'", &format!("'{}/'", temporary.display()));
    fs::write(vendor, text).unwrap();
    let config = format!(
        "<?php
$cfg['blowfish_secret'] = 'thirty-two characters of a secret';
$cfg['Servers'][1]['auth_type'] = 'cookie';
$cfg['Servers'][1]['host'] = 'localhost';
$cfg['Servers'][1]['socket'] = '{}';
$cfg['VersionCheck'] = false;
$cfg['SendErrorReports'] = 'never';
",
        socket.display()
    );
    fs::write(dir.join("config.inc.php"), config).unwrap();
}
