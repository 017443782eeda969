//! The record of a generation names files that are removed when it has ended. Somebody else could
//! write one, where anybody can write to `pid/`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use nix::unistd::{User, geteuid};

use super::super::site::Site;

#[test]
fn a_record_that_somebody_else_has_written_is_not_believed() {
    if !geteuid().is_root() {
        return; // nobody else can give a file away
    }
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.pings(2);
    fs::set_permissions(site.path("pid"), Permissions::from_mode(0o1777)).unwrap();
    site.write("precious", "precious");
    let socket = |n| site.path(&format!("sockets/php-fpm-www1.g{n}.sock")).display().to_string();
    let record = site.read("pid/www.1.g1.conf").replace("\"number\":1,", "\"number\":9,");
    let record = record.replace("www.1.g1.pid", "www.1.g9.pid");
    let record = record.replace(&socket(1), &site.path("precious").display().to_string());
    site.write("pid/www.1.g9.conf", &record);
    let nobody = User::from_name("nobody").unwrap().unwrap();
    chown(site.path("pid/www.1.g9.conf"), Some(nobody.uid.as_raw()), None).unwrap();
    for strategy in ["rolling", "swap"] {
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.read("precious"), "precious");
    }
    assert_eq!(site.generations(), [3, 3]);
    load.finish();
    site.run(&["stop"]).succeeds();
    site.run(&["start"]).succeeds();
    assert_eq!(site.read("precious"), "precious");
    fs::remove_file(site.path("pid/www.1.g9.conf")).unwrap();
    site.is_in_order_on("release1");
}

/// Root may run the commands of somebody else's site.
#[test]
fn the_records_of_whoever_owns_the_directory_are_believed() {
    if !geteuid().is_root() {
        return;
    }
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    let as_root = |args: &[&str]| {
        let program = site.path("bin/pools-manager");
        site.run_with(args, |command| {
            *command = std::process::Command::new(&program);
            command.args(args).current_dir(site.root());
        })
    };
    as_root(&["status", "-q"]).succeeds();
    assert_eq!(site.generations(), [1, 1]);
}
