//! phpMyAdmin in two releases, with one database server and one directory of temporary files.

use std::fs;
use std::path::Path;

use crate::database::Database;
use crate::packaged;
use harness::served::Served;

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
        let site = packaged::site("");
        let database = Database::start(&site.path("db"), "walk");
        let temporary = packaged::writable(&site, "tmp");
        for release in ["release1", "release2"] {
            let dir = packaged::release(&site, release, PACKAGED);
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
