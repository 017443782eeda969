//! `after_rollout` and `on_failure` get the result of the rollout. They do not change it.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::{ALL_NOTE, WAIT, await_file, noted, notes, set, site};
use harness::{Site, wait_for};

#[test]
fn failed_after_rollout_hook_is_a_warning() {
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
fn rolled_back_release_calls_on_failure() {
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
fn unwritable_release_link_calls_on_failure() {
    let site = site(&ALL_NOTE);
    // This directory is in the way of the new link.
    fs::create_dir(site.path("www/.current.release.pools-manager")).unwrap();
    let ran = site.run(&["switch", "www", "release2"]);
    assert!(ran.status(2).stderr.starts_with("error: cannot move "), "{ran}");
    assert!(noted(&site, "on_failure").contains("\nPOOLS_MANAGER_REASON=cannot move ROOT"));
    site.is_in_order_on("release1");
}

#[test]
fn interrupted_rollout_calls_on_failure() {
    let site = site(&ALL_NOTE);
    site.restart_is_interrupted();
    let told = noted(&site, "on_failure");
    assert!(told.contains("\nPOOLS_MANAGER_RESULT=interrupted\n"), "{told}");
    assert!(told.contains("\nPOOLS_MANAGER_REASON=told to stop by SIGINT\n"), "{told}");
    assert_eq!(notes(&site), ["note.before_rollout", "note.on_failure"]);
}

#[test]
fn signal_lets_a_hook_finish_and_no_other_pool_begins() {
    let site = Site::new();
    second_pool(&site);
    site.run(&["start"]).succeeds();
    set(&site, &[("after_rollout", WAIT)], "");
    let masters = site.masters();
    let manager = site.spawn(&["restart", "--parallel", "1"]);
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

/// While the first pool waits, the second one is renewed. The lines of the second pool come when the first
/// pool has ended.
#[test]
fn parallel_pools_do_not_mix_their_output() {
    let site = Site::new();
    second_pool(&site);
    site.run(&["start"]).succeeds();
    set(&site, &[("before_rollout", WAIT)], "");
    let manager = site.spawn(&["restart", "--parallel", "2"]);
    await_file(&site, "begun");
    wait_for("the rollout of the second pool", || {
        let history = site.run(&["history", "zoo"]).stdout;
        history.contains(" done\n").then_some(())
    });
    site.write("end", "");
    let ran = manager.finish();
    let blocks: Vec<&str> = ran.succeeds().stdout.split("Redundant pool ").skip(1).collect();
    let [www, zoo] = blocks[..] else { panic!("{ran}") };
    assert!(www.starts_with("\"www\"...\n  Running the hook before_rollout  [OK]\n"), "{ran}");
    assert!(www.ends_with("Activating the load balancer for replica 2  [OK]\n"), "{ran}");
    let swapped = "\"zoo\"...\n  Starting replica 1  [OK]\n  \
                   Switching all names to the new generations  [OK]\n  \
                   Stopping replica 1  [OK]\n";
    assert_eq!(zoo, swapped, "{ran}");
}

/// Programs get each event, with its pool, when the event happens.
#[test]
fn parallel_pools_print_their_events_at_once() {
    let site = Site::new();
    second_pool(&site);
    site.run(&["start"]).succeeds();
    set(&site, &[("before_rollout", WAIT)], "");
    let mut manager = site.spawn(&["restart", "--json", "--parallel", "2"]);
    manager.await_event("that the second pool is done", |event| {
        event["event"] == "done" && event["pool"] == "zoo"
    });
    assert!(!site.path("ended").exists());
    site.write("end", "");
    let ran = manager.finish();
    let events = super::events(ran.succeeds());
    assert!(events.iter().all(|event| ["www", "zoo"].contains(&event["pool"].as_str().unwrap())));
    assert_eq!(events.last().unwrap()["pool"], "www");
}

#[test]
fn signal_ends_all_parallel_pools() {
    let site = Site::new();
    second_pool(&site);
    site.run(&["start"]).succeeds();
    set(&site, &[("before_rollout", WAIT)], "");
    site.replace(
        "etc/php/fpm/redundant-pools/zoo/pools-manager.toml",
        "[php]",
        "[hooks]\nbefore_rollout = [\"sh\", \"-c\", \"touch zoo; sleep 60\"]\n[php]",
    );
    let before = (site.files(), site.all_masters());
    let manager = site.spawn(&["restart", "--parallel", "2"]);
    await_file(&site, "begun");
    await_file(&site, "zoo");
    manager.signal(Signal::INT);
    let ran = manager.finish();
    let refused = "told to stop by SIGINT while the hook before_rollout ran\n  \
                   help: nothing was changed\n";
    let stderr = format!(
        "stopping at the next good place; once more stops at once\n\
         error: pool \"www\": {refused}pool \"zoo\": {refused}"
    );
    ran.status(130).stderr(&stderr);
    assert_eq!((site.files(), site.all_masters()), before);
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
