//! `after_rollout` and `on_failure`: they are told how it went, and change nothing about that.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::super::site::Site;
use super::{ALL_NOTE, WAIT, await_file, noted, notes, set, site};

#[test]
fn a_hook_that_fails_afterwards_is_a_warning() {
    let site = site(&[("after_rollout", "echo the cache is cold; exit 3")]);
    let ran = site.run(&["restart"]);
    let ending = "  Running the hook after_rollout  [FAILED]\n    \
                  ended with exit status: 3\n  \
                  Warning: the hook after_rollout ended with exit status: 3\n  \
                  the end of its output:\n    \
                  the cache is cold\n";
    assert!(ran.succeeds().stdout.ends_with(ending), "{ran}");
    site.is_in_order_on("release1");
}

#[test]
fn a_release_that_bounces_calls_the_one_for_failures() {
    let site = site(&ALL_NOTE);
    site.add_page("warm.php", "<?php echo 'warm';");
    site.replace(super::SETTINGS, "\n[hooks]", "\n[rollout]\nwarm_up = [\"/warm.php\"]\n\n[hooks]");
    site.write("www/release2/warm.php", "<?php http_response_code(503);");
    for (strategy, generation) in [("rolling", 2), ("swap", 4)] {
        let ran = site.run(&["switch", "www", "release2", "--strategy", strategy]);
        ran.status(1);
        assert!(ran.stdout.ends_with("  Running the hook on_failure  [OK]\n"), "{ran}");
        let told = noted(&site, "on_failure");
        let reason = format!(
            "\nPOOLS_MANAGER_REASON=warm-up of generation {generation} of replica 1 on \
             ROOT/www/release2: /warm.php: status 503\n"
        );
        assert!(told.contains(&reason), "{told}");
        assert!(told.contains("\nPOOLS_MANAGER_RESULT=failed\n"), "{told}");
        // All has been put back by then, the link too.
        assert!(told.ends_with("ROOT ROOT release1\n"), "{told}");
        assert_eq!(notes(&site), ["note.before_rollout", "note.on_failure"]);
    }
}

#[test]
fn a_link_that_cannot_be_moved_calls_the_one_for_failures() {
    let site = site(&ALL_NOTE);
    // In the way of the link that replaces it.
    fs::create_dir(site.path("www/.current.release.pools-manager")).unwrap();
    let ran = site.run(&["switch", "www", "release2"]);
    assert!(ran.status(2).stderr.starts_with("error: cannot move "), "{ran}");
    assert!(noted(&site, "on_failure").contains("\nPOOLS_MANAGER_REASON=cannot move ROOT"));
    site.is_in_order_on("release1");
}

#[test]
fn a_rollout_that_is_told_to_stop_calls_the_one_for_failures() {
    let site = site(&ALL_NOTE);
    site.restart_is_interrupted();
    let told = noted(&site, "on_failure");
    assert!(told.contains("\nPOOLS_MANAGER_RESULT=interrupted\n"), "{told}");
    assert!(told.contains("\nPOOLS_MANAGER_REASON=told to stop by SIGINT\n"), "{told}");
    assert_eq!(notes(&site), ["note.before_rollout", "note.on_failure"]);
}

#[test]
fn a_signal_lets_it_finish_and_no_other_pool_is_begun() {
    let site = Site::new();
    second_pool(&site);
    site.run(&["start"]).succeeds();
    set(&site, &[("after_rollout", WAIT)], "");
    let masters = site.masters();
    let manager = site.spawn(&["restart"]);
    await_file(&site, "begun");
    manager.signal(Signal::INT);
    let noted = "stopping at the next good place; once more stops at once\n";
    assert_eq!(manager.await_complaint(), noted);
    site.write("end", "");
    let ran = manager.finish();
    ran.status(130)
        .stderr("error: told to stop by SIGINT\n  help: the pool \"zoo\" was left as it is\n");
    assert!(site.path("ended").exists());
    let ending = "  Running the hook after_rollout  [OK]\nRedundant pool \"zoo\"...\n";
    assert!(ran.stdout.ends_with(ending), "{ran}");
    assert_ne!(site.masters(), masters);
    site.run(&["history", "zoo"]).prints("Redundant pool \"zoo\"...\n  No rollout is on record\n");
}

/// A pool "zoo" behind no balancer, whose turn comes after "www".
fn second_pool(site: &Site) {
    const POOLS: &str = "etc/php/fpm/redundant-pools";
    let conf = site.read(&format!("{POOLS}/www/1.conf"));
    let conf = conf.replace("[www1]", "[zoo1]").replace("php-fpm-www1.", "php-fpm-zoo1.");
    site.write(&format!("{POOLS}/zoo/1.conf"), &conf);
    fs::create_dir(site.path("www/zoo")).unwrap();
    symlink("release1", site.path("www/zoo.release")).unwrap();
    let settings =
        "[php]\ncurrent_release_symlink = \"www/zoo.release\"\ncurrent_dir = \"www/zoo\"\n";
    site.write(&format!("{POOLS}/zoo/pools-manager.toml"), settings);
}
