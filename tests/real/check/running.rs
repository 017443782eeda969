//! What `check` finds in running processes.

use std::fs;

use rustix::process::Signal;

use super::found;
use harness::Site;

const START: &str = "\n  help: run pools-manager start";
const RESTART: &str = "\n  help: run pools-manager restart";

#[test]
fn check_finds_leftovers_of_a_crash() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let public = "sockets/php-fpm-www1.sock";
    site.point(public, "php-fpm-www2.g1.sock");
    let lent = "warning: replica 1 runs, but its public socket name is lent to replica 2";
    assert_eq!(found(&site, "replicas"), [format!("{lent}{START}")]);
    site.point(public, "nowhere.sock");
    let astray = "error: replica 1 runs, but its public socket name does not lead to it";
    assert_eq!(found(&site, "replicas"), [format!("{astray}{START}")]);
    site.run(&["start"]).succeeds();
    site.kill_replica(2);
    let died = "warning: replica 2 does not run, though its public socket name leads to \
                php-fpm-www2.g1.sock";
    assert_eq!(found(&site, "replicas"), [format!("{died}{START}")]);
    site.run(&["start"]).succeeds();
    site.run(&["stop", "single", "www", "2"]).succeeds();
    let stopped = "warning: replica 2 does not run";
    assert_eq!(found(&site, "replicas"), [format!("{stopped}{START}")]);
    site.run(&["start"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn check_compares_the_releases_of_the_replicas() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.switch("release2");
    let ran = site.run(&["check"]);
    let note = "  Replicas  [OK]  (2 of 2 run, not all on the release that the symlink names: \
                a restart rolls it out)\n";
    assert!(ran.succeeds().stdout.ends_with(note), "{ran}");
    site.run(&["restart", "single", "www", "2"]).succeeds();
    let different = "warning: the replicas run different releases: replica 1 ROOT/www/release1, \
                     replica 2 ROOT/www/release2";
    assert_eq!(found(&site, "replicas"), [format!("{different}{RESTART}")]);
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    let deleted = "error: replica 1 runs a release that has been deleted: ROOT/www/release1";
    assert_eq!(found(&site, "replicas"), [format!("{deleted}{RESTART}")]);
    site.run(&["restart"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn check_finds_leftovers_of_a_killed_manager() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    let manager = site.spawn(&["restart", "--strategy", "swap"]);
    warm_up.reached();
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    let beside = "warning: generation 2 of replica 1 runs beside generation 1";
    assert_eq!(found(&site, "replicas"), [format!("{beside}{START}")]);
    warm_up.open();
    site.run(&["start"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn check_finds_a_dead_master_with_living_children() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.kill(&site.masters()[1..]);
    let dead = "warning: the master of replica 2 is dead, its children serve on";
    assert_eq!(found(&site, "replicas"), [format!("{dead}\n  help: run pools-manager repair")]);
    site.run(&["repair"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn check_accepts_masters_started_by_hand() {
    let site = Site::new();
    site.start_by_hand(1);
    site.start_by_hand(2);
    site.run(&["check", "-q"]).prints("");
}
