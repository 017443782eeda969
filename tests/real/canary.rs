//! `--canary`: one replica gets the new release first, and is watched before the others follow.

mod bad;
mod interrupted;

use std::fs;

use harness::{Load, Program, Site};

/// Long enough that a test has to end it.
const LONG: &str = "10m";

/// A site under load that serves release 1. Its warm-up page can differ in release 2.
fn site(release2: &str) -> (Site, Load) {
    let site = Site::new();
    site.scratch();
    site.add_rollout("warm_up = [\"/warm.php\"]");
    site.add_page("warm.php", "<?php echo 'warm';");
    site.write("www/release2/warm.php", release2);
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    (site, load)
}

/// A restart to release 2 that watches replica 1.
fn watching(site: &Site, strategy: &str) -> Program {
    site.switch("release2");
    let args = ["restart", "--canary", LONG, "--json", "--strategy", strategy];
    let mut manager = site.spawn(&args);
    manager.await_event("that it watches", |event| event["event"] == "watching");
    assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release1")]);
    manager
}

const SAME: &str = "<?php echo 'warm';";

#[test]
fn good_canary_goes_on_to_the_other_replicas() {
    let (site, load) = site(SAME);
    let stages = |strategy: &str| {
        let lines = match strategy {
            "rolling" => {
                "Deactivating the load balancer for replica 1|Stopping replica 1|\
                 Starting replica 1|Activating the load balancer for replica 1|\
                 Watching replica 1|\
                 Deactivating the load balancer for replica 2|Stopping replica 2|\
                 Starting replica 2|Activating the load balancer for replica 2"
            }
            _ => {
                "Starting replica 1|Watching replica 1|Stopping replica 1|\
                 Starting replica 2|Switching all names to the new generations|Stopping replica 2"
            }
        };
        lines.split('|').map(str::to_owned).collect::<Vec<_>>()
    };
    for (strategy, release) in [("rolling", "release2"), ("swap", "release1")] {
        site.switch(release);
        let ran = site.run(&["restart", "--canary", "1s", "--strategy", strategy]);
        let done = |line: &str| {
            Some(line.trim().strip_suffix("[OK]")?.trim_end_matches([' ', '.']).to_owned())
        };
        let lines: Vec<String> = ran.succeeds().stdout.lines().filter_map(done).collect();
        assert_eq!(lines, stages(strategy), "{ran}");
        site.is_in_order_on(release);
    }
    load.finish();
    site.apache_saw_no_error();
}

#[test]
fn single_replica_is_watched() {
    let (site, load) = site(SAME);
    site.switch("release2");
    let ran = site.run(&["restart", "single", "www", "2", "--canary", "100ms"]);
    assert!(ran.succeeds().stdout.ends_with("  Watching replica 2  [OK]\n"), "{ran}");
    assert_eq!(site.releases(), [site.path("www/release1"), site.path("www/release2")]);
    load.finish();
}

#[test]
fn dry_run_shows_the_watch() {
    let (site, load) = site(SAME);
    load.finish();
    let ran = site.run(&["restart", "--canary", "30s", "--dry-run"]);
    let watched = "  Watching replica 1\n    watch generation 2 of replica 1\n  Deactivating ";
    assert!(ran.succeeds().stdout.contains(watched), "{ran}");
    assert_eq!(site.generations(), [1, 1]);
}

#[test]
fn last_replica_is_watched_beside_its_old_generation() {
    let (site, load) = site(BREAKS);
    site.run(&["stop", "single", "www", "2"]).succeeds();
    let master = site.all_masters();
    site.switch("release2");
    let args = ["restart", "single", "www", "1", "--canary", LONG, "--json"];
    let mut manager = site.spawn(&args);
    manager.await_event("that it watches", |event| event["event"] == "watching");
    site.write("scratch/broken", "");
    manager.finish().status(1);
    // The old master has run all the time.
    assert_eq!(site.all_masters(), master);
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    load.finish();
}

/// Fails on the second replica only.
const FAILS_ON_2: &str = "<?php
if (str_contains(file_get_contents('/proc/self/cmdline'), 'pool www2')) { http_response_code(500); }
";

#[test]
fn failure_after_the_canary_leaves_the_canary_on_the_new_release() {
    let (site, load) = site(FAILS_ON_2);
    site.switch("release2");
    for strategy in ["rolling", "swap"] {
        let second = site.masters()[1];
        let ran = site.run(&["restart", "--canary", "10ms", "--strategy", strategy]);
        ran.status(1);
        assert!(ran.stdout.contains("  Watching replica 1  [OK]\n"), "{ran}");
        assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release1")]);
        assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
        assert_eq!(site.all_masters().len(), 2);
        assert_eq!(site.masters()[1] == second, strategy == "swap");
    }
    load.finish();
}

/// Begins to fail when a file appears.
const BREAKS: &str = "<?php
if (file_exists(dirname(__DIR__, 2) . '/scratch/broken')) { http_response_code(500); }
";

/// The target of the symlink.
fn link(site: &Site) -> String {
    fs::read_link(site.path("www/current.release")).unwrap().display().to_string()
}
