//! A watch that is told to stop, or whose manager is killed.

use rustix::process::Signal;

use super::{SAME, site, watching};

#[test]
fn what_was_not_watched_to_the_end_is_undone() {
    for strategy in ["rolling", "swap"] {
        let (site, load) = site(SAME);
        let second = site.masters()[1];
        // Nobody wants to look at what was only told to stop.
        site.add_rollout("on_failure = \"stop\"");
        let manager = watching(&site, strategy);
        manager.signal(Signal::INT);
        let ran = manager.finish();
        let left = "told to stop by SIGINT; pool \"www\" is left as follows: replica 1 runs \
                    ROOT/www/release1 (LB=\"Init Ok\"); ";
        assert!(site.shown(&ran.status(130).stderr).contains(left), "{ran}");
        let release = site.path("www/release1");
        assert_eq!(site.releases(), [release.clone(), release]);
        assert_eq!(site.masters()[1], second);
        let ran = site.run(&["history"]);
        assert!(ran.succeeds().stdout.ends_with("  interrupted\n"), "{ran}");
        site.run(&["restart"]).succeeds();
        site.is_in_order_on("release2");
        load.finish();
    }
}

#[test]
fn the_next_command_goes_on_from_a_watch_whose_manager_was_killed() {
    let (site, load) = site(SAME);
    for strategy in ["rolling", "swap"] {
        let manager = watching(&site, strategy);
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);
        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on("release2");
        site.switch("release1");
        site.run(&["restart", "--strategy", strategy, "--canary", "10ms"]).succeeds();
        site.is_in_order_on("release1");
    }
    load.finish();
    site.apache_saw_no_error();
}
