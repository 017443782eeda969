//! A full or read-only disk. If possible, the command finds it before it stops anything. Else the rollout is
//! undone.

use harness::{Disk, Held, Load, Program, Site, needs_root};

const STATE: &str = "pid/www.state.json";

fn pool_error(dir: &str, what: &str, why: &str) -> String {
    // An error in a configured path names the configuration file.
    let file = match dir {
        "pid" => String::new(),
        _ => "ROOT/etc/php/fpm/redundant-pools/www/1.conf: ".to_owned(),
    };
    format!("error: {file}{what}\n  help: {why}\n")
}

fn full(dir: &str) -> String {
    let why = if dir == "pid" { "what runs is recorded" } else { "`listen` puts the socket" };
    let what = format!("the disk of ROOT/{dir} is full");
    pool_error(dir, &what, &format!("{why} there: make room first"))
}

/// A site whose directory is on a small disk, and which serves release 1 under load.
fn on_disk(dir: &str, options: &str) -> (Site, Disk) {
    let site = Site::prepared();
    let disk = Disk::on(&site, dir, options);
    let site = site.serve();
    site.run(&["start"]).succeeds();
    (site, disk)
}

#[test]
fn full_disk_is_reported_before_any_change() {
    needs_root!();
    for dir in ["pid", "sockets"] {
        let (site, disk) = on_disk(dir, "size=256k");
        refuses_while_full(&site, dir, || disk.fill());
        disk.make_room();
        site.run(&["restart"]).succeeds();
        site.run(&["status", "-q"]).succeeds();
    }
}

#[test]
fn disk_without_inodes_is_reported_before_any_change() {
    needs_root!();
    for dir in ["pid", "sockets"] {
        let (site, disk) = on_disk(dir, "nr_inodes=100");
        refuses_while_full(&site, dir, || disk.fill_inodes());
        disk.make_room();
        site.run(&["restart"]).succeeds();
        site.run(&["status", "-q"]).succeeds();
    }
}

fn refuses_while_full(site: &Site, dir: &str, fill: impl FnOnce()) {
    let load = site.steady_load();
    fill();
    for strategy in ["rolling", "swap"] {
        let before = (site.masters(), site.sockets(), site.members());
        let ran = site.run(&["restart", "--strategy", strategy]);
        assert_eq!(site.shown(&ran.stderr), full(dir));
        ran.status(2);
        assert_eq!((site.masters(), site.sockets(), site.members()), before);
    }
    load.finish();
}

/// A rolling restart that has drained replica 1, and waits for a request.
fn waiting(site: &Site) -> (Program, [Held; 2], Load) {
    let requests = site.hold_both();
    let load = site.steady_load();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    (manager, requests, load)
}

#[test]
fn disk_that_fills_up_during_a_drain_stops_no_replica() {
    needs_root!();
    for dir in ["pid", "sockets"] {
        let (site, disk) = on_disk(dir, "size=256k");
        let before = (site.masters(), site.sockets(), site.members());
        let (manager, requests, load) = waiting(&site);
        disk.fill();
        for request in requests {
            request.end(1);
        }
        let ran = manager.finish();
        let said = format!("the disk of {} is full", site.path(dir).display());
        assert!(ran.stdout.contains(&said), "{ran}");
        let back = "release2 bounced: pool \"www\" is back on release1. No new generation got a visitor's request. ";
        assert!(ran.status(1).error_message().starts_with(back), "{ran}");
        disk.make_room();
        assert_eq!((site.masters(), site.sockets(), site.members()), before);
        site.run(&["restart"]).succeeds();
        site.is_in_order_on("release2");
        load.finish();
    }
}

/// The name of replica 1 is lent, and there is no inode for the link that would give the name back. So replica
/// 2 serves alone, under both names, until there is space.
#[test]
fn inodes_used_up_during_a_drain_leave_one_replica_serving() {
    needs_root!();
    let (site, disk) = on_disk("sockets", "nr_inodes=100");
    let masters = site.masters();
    let (manager, requests, load) = waiting(&site);
    disk.fill_inodes();
    for request in requests {
        request.end(1);
    }
    let ran = manager.finish();
    let left = "replica 1 runs, but its public name does not lead to it (LB=\"Init Drn Ok\")";
    assert!(ran.status(1).error_message().contains(left), "{ran}");
    disk.make_room();
    site.run(&["start"]).succeeds();
    assert_eq!(site.masters(), masters);
    site.is_in_order_on("release1");
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

/// When the disk fills up, a new generation of the swap already runs. The rest of the swap needs new files, so
/// it fails, and the rollout is undone.
#[test]
fn disk_that_fills_up_during_the_warm_up_of_a_swap_loses_no_request() {
    needs_root!();
    let (site, disk) = on_disk("sockets", "nr_inodes=100");
    let warm_up = site.hold_warm_up();
    let load = site.steady_load();
    let before = (site.masters(), site.sockets(), site.members());
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "swap"]);
    warm_up.reached();
    disk.fill_inodes();
    warm_up.open();
    let ran = manager.finish();
    assert!(ran.stdout.contains("Starting replica 2  [FAILED]"), "{ran}");
    ran.status(1);
    disk.make_room();
    assert_eq!((site.masters(), site.sockets(), site.members()), before);
    site.run(&["restart", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn rollout_stays_unfinished_in_the_history_on_a_full_disk() {
    needs_root!();
    let (site, disk) = on_disk("pid", "size=256k");
    site.run(&["restart"]).succeeds();
    // The history takes more space than the end of an old generation sets free with its record.
    let command = "x".repeat(20_000);
    let history = site.read(STATE).replace("\"restart\"", &format!("{command:?}"));
    site.write(STATE, &history);
    let warm_up = site.hold_warm_up();
    let load = site.steady_load();
    site.switch("release2");
    let manager = site.spawn(&["restart", "single", "www", "1"]);
    warm_up.reached();
    disk.fill();
    warm_up.open();
    let ran = manager.finish();
    let warning = format!("  Warning: no history is written: {}: ", site.path(STATE).display());
    let warned =
        |line: &str| line.starts_with(&warning) && line.contains("No space left on device");
    assert!(ran.succeeds().stdout.lines().any(warned), "{ran}");
    let entries = |text: &str| {
        let mut state: serde_json::Value = serde_json::from_str(text).unwrap();
        state["history"].take().as_array().unwrap().clone()
    };
    let mut kept = entries(&site.read(STATE));
    assert_eq!(kept.pop().unwrap()["result"], "unfinished");
    assert_eq!(kept, entries(&history));
    disk.make_room();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn full_log_disk_does_not_block_rollouts() {
    needs_root!();
    let mut site = Site::prepared();
    let disk = Disk::on(&site, "logs", "size=64k");
    for replica in [1, 2] {
        let file = format!("etc/php/fpm/redundant-pools/www/{replica}.conf");
        site.replace(&file, "error_log = pid/", "error_log = logs/");
    }
    site = site.serve();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    disk.fill();
    site.goes_both_ways();
    load.finish();
}

/// The link that would lend the public name to the other replica cannot be made.
#[test]
fn replica_is_stopped_on_a_disk_without_inodes() {
    needs_root!();
    let (site, disk) = on_disk("sockets", "nr_inodes=100");
    disk.fill_inodes();
    site.run(&["stop", "single", "www", "1"]).succeeds();
    assert!(!site.path("sockets/php-fpm-www1.sock").is_symlink());
    disk.make_room();
    site.run(&["start"]).succeeds();
}

#[test]
fn read_only_socket_directory_is_reported() {
    needs_root!();
    let (site, disk) = on_disk("sockets", "size=256k");
    let load = site.steady_load();
    disk.is_read_only(true);
    let before = (site.masters(), site.sockets(), site.members());
    let what = "cannot create files in ROOT/sockets: Read-only file system (os error 30)";
    let why = "`listen` puts the socket there: the directory has to be there, and writable for you";
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["restart", "--strategy", strategy]);
        assert_eq!(site.shown(&ran.stderr), pool_error("sockets", what, why));
        ran.status(2);
    }
    // A stop has to remove the public name, and cannot. So the replica is not stopped, and gets requests again.
    let ran = site.run(&["stop", "single", "www", "1"]);
    assert!(ran.stdout.contains("Stopping replica 1  [FAILED]\n    cannot remove "), "{ran}");
    ran.status(1);
    assert_eq!((site.masters(), site.sockets(), site.members()), before);
    disk.is_read_only(false);
    site.run(&["restart"]).succeeds();
    site.run(&["status", "-q"]).succeeds();
    load.finish();
}

#[test]
fn socket_directory_that_becomes_read_only_during_a_drain_leaves_one_replica_serving() {
    needs_root!();
    let (site, disk) = on_disk("sockets", "size=256k");
    let masters = site.masters();
    let (manager, requests, load) = waiting(&site);
    disk.is_read_only(true);
    for request in requests {
        request.end(1);
    }
    let ran = manager.finish();
    assert!(ran.stdout.contains("Read-only file system"), "{ran}");
    let left = "replica 1 runs, but its public name does not lead to it (LB=\"Init Drn Ok\")";
    assert!(ran.status(1).error_message().contains(left), "{ran}");
    disk.is_read_only(false);
    site.run(&["start"]).succeeds();
    assert_eq!(site.masters(), masters);
    site.is_in_order_on("release1");
    load.finish();
}
