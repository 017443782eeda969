//! Records of generations that another user has written or replaced. A record names files that are
//! removed later, and php-fpm starts from it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use nix::unistd::User;
use rustix::process::{Signal, kill_process};

use harness::{Site, needs_root, wait_for};

/// A record of a generation 9 that never existed. It names a file of root as its socket.
fn plant(site: &Site, owner: Option<&str>) {
    site.write("precious", "precious");
    let socket = |n| site.path(&format!("sockets/php-fpm-www1.g{n}.sock")).display().to_string();
    let record = site.read("pid/www.1.g1.conf").replace("\"number\":1,", "\"number\":9,");
    let record = record.replace("www.1.g1.pid", "www.1.g9.pid");
    let record = record.replace(&socket(1), &site.path("precious").display().to_string());
    site.write("pid/www.1.g9.conf", &record);
    chown(site.path("pid/www.1.g9.conf"), owner.map(uid), None).unwrap();
}

fn uid(name: &str) -> u32 {
    User::from_name(name).unwrap().unwrap().uid.as_raw()
}

#[test]
fn record_planted_by_the_owner_of_the_directory_is_ignored() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    chown(site.path("pid"), Some(uid("www-data")), None).unwrap();
    plant(&site, Some("www-data"));
    for command in [&["restart"][..], &["restart", "--strategy", "swap"], &["stop"], &["repair"]] {
        let ran = site.unchanged_by(|| site.run(command));
        assert!(ran.status(2).stderr.contains("/pid belongs to www-data"), "{ran}");
        assert_eq!(site.read("precious"), "precious");
    }
    // The directory belongs to root again, and the record still to its writer.
    chown(site.path("pid"), Some(0), None).unwrap();
    for strategy in ["rolling", "swap"] {
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.read("precious"), "precious");
    }
    assert_eq!(site.generations(), [3, 3]);
    load.finish();
}

/// The manager derives the names from the number, even if the record is valid.
#[test]
fn file_names_in_a_record_are_ignored() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    plant(&site, None);
    for strategy in ["rolling", "swap"] {
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.read("precious"), "precious");
    }
    // The record belongs to the user who runs the site, so generation 9 counts.
    assert_eq!(site.generations(), [11, 3]);
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn record_of_another_user_is_ignored() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    plant(&site, Some("nobody"));
    site.run(&["restart"]).succeeds();
    assert_eq!(site.generations(), [2, 2]);
    assert_eq!(site.read("precious"), "precious");
    fs::remove_file(site.path("pid/www.1.g9.conf")).unwrap();
    site.is_in_order_on("release1");
}

/// Root can show the site of another user.
#[test]
fn root_sees_the_records_of_another_user() {
    needs_root!();
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
    let ran = as_root(&["restart"]);
    assert!(ran.status(2).stderr.contains(" belongs to nobody "), "{ran}");
    assert_eq!(site.generations(), [1, 1]);
}

/// Between the write and the start of php-fpm, another process replaces the written file.
#[test]
fn php_fpm_reads_the_written_file_not_a_replacement() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let places = site.places_of(&["restart"]);
    let nth = 1 + places.iter().position(|place| place == "recorded, not launched").unwrap();
    let manager = site.halt_at(nth, &["restart"]);
    let record = "pid/www.1.g3.conf";
    let written = site.read(record);
    let log = site.path("planted.log");
    let planted =
        written.replace("[global]\n", &format!("[global]\nerror_log = {}\n", log.display()));
    assert_ne!(planted, written);
    site.write("planted.conf", &planted);
    fs::rename(site.path("planted.conf"), site.path(record)).unwrap();
    manager.signal(Signal::CONT);
    manager.finish().status(0);
    assert_eq!(site.generations(), [3, 3]);
    assert!(!log.exists(), "{}", fs::read_to_string(log).unwrap());
}

/// pools-manager never sends USR2; an operator, or logrotate, may.
#[test]
fn reloading_master_reads_the_written_file_again() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let before = site.masters();
    let record = site.read("pid/www.1.g1.conf");
    let log = site.path("planted.log");
    let line = format!("[global]\nerror_log = {}\n", log.display());
    site.write("planted.conf", &record.replace("[global]\n", &line));
    fs::rename(site.path("planted.conf"), site.path("pid/www.1.g1.conf")).unwrap();
    kill_process(before[0], Signal::USR2).unwrap();
    let renewed: i32 = wait_for("the reload", || {
        // The master removes the file, and writes it again.
        let pid = fs::read_to_string(site.path("pid/www.1.g1.pid")).ok()?;
        let pid: i32 = pid.trim().parse().ok()?;
        (pid != before[0].as_raw_nonzero().get()).then_some(pid)
    });
    site.status_when(|status| status["pools"][0]["ok"] == true);
    assert_eq!(site.masters()[0].as_raw_nonzero().get(), renewed);
    assert!(!log.exists());
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

/// With the lock, the user of PHP would block every deploy.
#[test]
fn other_user_cannot_hold_the_lock() {
    needs_root!();
    let site = Site::new();
    // As an earlier version has left it.
    site.write("pid/www.lock", "");
    fs::set_permissions(site.path("pid/www.lock"), Permissions::from_mode(0o644)).unwrap();
    site.run(&["start"]).succeeds();
    let mut flock = site.command("setpriv");
    flock.args([
        "--reuid",
        "nobody",
        "--clear-groups",
        "flock",
        "--nonblock",
        "pid/www.lock",
        "true",
    ]);
    let said = flock.output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("Permission denied"), "{said:?}");
    site.run(&["restart", "--no-wait"]).succeeds();
}
