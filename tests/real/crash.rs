//! The manager is killed at every failpoint: after each step, and inside a step wherever something is
//! incomplete. No request fails, and the next command recovers.

mod sweep;

use harness::{Load, Site};
use sweep::Sweep;

/// Failpoints that every rollout has inside its steps.
const ROLLOUT: [&str; 8] = [
    "recorded, not launched",
    "launched, not up",
    "a new link made, not in its place",
    "signalled",
    "its socket removed, its pid file still there",
    "ended, its files still there",
    "a record removed",
    "the history written, not in its place",
];

const GOOD: &str = "<?php echo 'warm';";

/// A site under light load, for commands that are killed.
fn site(strategy: &str) -> (Site, [Load; 2]) {
    let site = Site::new();
    // The failpoints have the same numbers each time only if the number of children is always the same.
    let pool = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.replace(pool, "pm = dynamic", "pm = static");
    site.replace(pool, "pm.max_children = 5", "pm.max_children = 2");
    site.add_rollout(&format!("warm_up = [\"/warm.php\"]\nstrategy = {strategy:?}"));
    site.add_page("warm.php", GOOD);
    site.run(&["start"]).succeeds();
    let loads = [site.sleepers(2, "0.005"), site.sleepers(1, "0.2")];
    (site, loads)
}

fn all_were_served(site: &Site, loads: [Load; 2]) {
    for load in loads {
        load.finish();
    }
    site.apache_saw_no_error();
}

fn other_release(site: &Site, n: usize) {
    site.switch(format!("release{}", 1 + n % 2));
}

fn started(site: &Site, _: usize) {
    site.run(&["start"]).succeeds();
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn rolling_restart_killed_anywhere_recovers() {
    restart("rolling");
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn swap_killed_anywhere_recovers() {
    restart("swap");
}

fn restart(strategy: &str) {
    let (site, loads) = site(strategy);
    Sweep { before: &other_release, within: &ROLLOUT, ..Sweep::of(&["restart"]) }.run(&site);
    all_were_served(&site, loads);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn rolling_restart_of_adopted_masters_killed_anywhere_recovers() {
    adoption("rolling");
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn swap_of_adopted_masters_killed_anywhere_recovers() {
    adoption("swap");
}

fn adoption(strategy: &str) {
    let (site, loads) = site(strategy);
    let by_hand = |site: &Site, n: usize| {
        other_release(site, n);
        for replica in 1..=2 {
            site.run(&["stop", "single", "www", &replica.to_string()]).succeeds();
            site.start_by_hand(replica);
            site.run(&["start"]).succeeds();
        }
        assert_eq!(site.generations(), [0, 0]);
    };
    let adopted = [
        "linked, its public name still a socket",
        "a new link made, not in its place",
        "halted",
        "signalled",
        "halted, its children gone",
    ];
    Sweep { before: &by_hand, within: &adopted, ..Sweep::of(&["restart"]) }.run(&site);
    all_were_served(&site, loads);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn rollback_of_a_rolling_restart_killed_anywhere_recovers() {
    recovery("rolling", &["the history written, not in its place"]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn rollback_of_a_swap_killed_anywhere_recovers() {
    recovery("swap", &["the history written, not in its place"]);
}

/// The second release is bad: it is discarded, and what served before serves on, or again.
fn recovery(strategy: &str, within: &[&str]) {
    let (site, loads) = site(strategy);
    let bad_release = |site: &Site, _| {
        site.write("www/release2/warm.php", "<?php this is no PHP;");
        site.switch("release2");
    };
    // The operator goes back to release 1, or mends release 2.
    let better = |site: &Site, n: usize| {
        if n.is_multiple_of(3) {
            site.write("www/release2/warm.php", GOOD);
        } else {
            site.switch("release1");
        }
    };
    Sweep {
        before: &bad_release,
        then: &better,
        status: 1,
        within: &[&["before the recovery"], within].concat(),
        ..Sweep::of(&["restart"])
    }
    .run(&site);
    all_were_served(&site, loads);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn start_of_one_replica_killed_anywhere_recovers() {
    let (site, loads) = site("rolling");
    let stopped = |site: &Site, _| {
        site.run(&["stop", "single", "www", "1"]).succeeds();
    };
    Sweep { before: &stopped, within: &ROLLOUT[..3], ..Sweep::of(&["start"]) }.run(&site);
    all_were_served(&site, loads);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn stop_of_one_replica_killed_anywhere_recovers() {
    let (site, loads) = site("rolling");
    let command = ["stop", "single", "www", "1"];
    Sweep { before: &started, within: &ROLLOUT[3..6], ..Sweep::of(&command) }.run(&site);
    all_were_served(&site, loads);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn start_killed_anywhere_recovers() {
    let site = Site::new();
    let stopped = |site: &Site, _| {
        site.run(&["stop"]).succeeds();
    };
    Sweep { before: &stopped, within: &ROLLOUT[..3], ..Sweep::of(&["start"]) }.run(&site);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn stop_killed_anywhere_recovers() {
    let site = Site::new();
    Sweep { before: &started, within: &ROLLOUT[3..6], ..Sweep::of(&["stop"]) }.run(&site);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn switch_killed_anywhere_recovers() {
    let (site, loads) = site("swap");
    let on_release_1 = |site: &Site, _| {
        site.switch("release1");
        site.run(&["restart"]).succeeds();
    };
    let within = [&ROLLOUT[..], &["a new symlink made, not in its place"]].concat();
    let switch = Sweep::of(&["switch", "www", "release2"]);
    Sweep { before: &on_release_1, within: &within, ..switch }.run(&site);
    all_were_served(&site, loads);
}
