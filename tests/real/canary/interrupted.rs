//! A watch that is interrupted, or whose manager is killed.

use rustix::process::Signal;

use super::{SAME, site, watching};

#[test]
fn interrupted_watch_is_undone() {
    for strategy in ["rolling", "swap"] {
        let (site, load) = site(SAME);
        let second = site.masters()[1];
        // An interrupted rollout is undone even with on_failure = "stop".
        site.add_rollout("on_failure = \"stop\"");
        let manager = watching(&site, strategy);
        manager.signal(Signal::INT);
        let ran = manager.finish();
        let left = "told to stop by SIGINT; pool \"www\" is left as follows: replica 1 runs \
                    ROOT/www/release1 (LB=\"Init Ok\"); ";
        assert!(site.shown(&ran.status(130).error_message()).starts_with(left), "{ran}");
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
fn too_few_children_during_a_watch_is_a_warning() {
    let (site, load) = site(SAME);
    let pool = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.replace(pool, "pm.max_children = 5", "pm.max_children = 2");
    site.replace(pool, "pm.max_spare_servers = 3", "pm.max_spare_servers = 2");
    let many = site.sleepers(16, "0.1");
    let mut manager = watching(&site, "rolling");
    manager.await_event("the warning", |event| {
        let text = "generation 2 of replica 1 had no child free for some time: see pm.max_children";
        event["event"] == "warning" && event["text"] == text
    });
    // The rollout continues.
    manager.await_event("that it watches", |event| event["event"] == "watching");
    manager.signal(Signal::TERM);
    manager.finish().status(143);
    many.finish();
    load.finish();
}

#[test]
fn next_command_continues_after_a_killed_watch() {
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

#[test]
fn repair_undoes_a_killed_watch() {
    let (site, load) = site(SAME);
    for strategy in ["rolling", "swap"] {
        let manager = watching(&site, strategy);
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);
        site.run(&["repair"]).succeeds();
        site.is_in_order_on("release1");
    }
    load.finish();
    site.apache_saw_no_error();
}
