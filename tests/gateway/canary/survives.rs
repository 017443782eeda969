//! A canary whose command is killed, and one whose gateway is replaced.

use harness::served::Served;
use harness::wait_for;
use rustix::process::Signal;
use serde_json::Value;

use super::{LONG, Visitors, drawn, one_of_each, served, watching};
use crate::supervisor::supervised;

#[test]
fn canary_ends_with_its_command_and_repair_cleans_up() {
    next_cleans_up(&[&["repair"]]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn canary_ends_with_its_command_and_any_next_command_cleans_up() {
    next_cleans_up(&[&["restart"], &["start"], &["switch", "www", "release2"]]);
}

fn next_cleans_up(commands: &[&[&str]]) {
    for next in commands {
        let served = served("");
        let manager = watching(&served.site, "50%", LONG);
        let (mut new, _) = one_of_each(served.port());
        let visitors = Visitors::start(&served, 3);
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);
        wait_for("the end of the canary", || (new.release() == "1").then_some(()));
        assert!((0..20).all(|_| drawn(&served) == "1"));
        assert_eq!(served.site.status()["pools"][0]["canary"], Value::Null);
        assert_eq!(served.site.all_masters().len(), 3);
        let ran = served.site.run(next);
        assert!(ran.has_succeeded(), "{ran}");
        let seen = visitors.finish();
        let mut bad = seen.iter().flatten().filter(|it| !["1", "2"].contains(&it.release.as_str()));
        assert_eq!(bad.next(), None, "{next:?}");
        assert_eq!(served.site.all_masters().len(), 2, "{next:?}");
        assert!(!served.site.path("pid/www.canary.json").exists());
        let release = if matches!(next[0], "repair" | "start") { "1" } else { "2" };
        assert_eq!(new.release(), release, "{next:?}");
    }
}

#[test]
fn canary_outlives_a_restart_and_a_reload_of_the_gateway() {
    let mut served = served("");
    let mut manager = watching(&served.site, "50%", LONG);
    let (new, old) = one_of_each(served.port());
    let check = |port: u16| {
        for (visitor, release) in [(&new, "2"), (&old, "1")] {
            let mut same = visitor.again(port);
            assert_eq!(
                (same.release().as_str(), same.get("/which.txt").text().as_str()),
                (release, release)
            );
        }
    };
    check(served.port());
    served.reload();
    check(served.port());
    let counts = |event: &Value| {
        ["new", "old"].map(|side| event["canary"][side]["requests"].as_u64().unwrap_or_default())
    };
    manager.await_event("figures", |event| counts(event).iter().all(|it| *it >= 3));
    served.kill_gateway();
    served.start_gateway();
    check(served.port());
    manager.await_event("the figures of both gateways", |event| {
        counts(event).iter().all(|it| *it >= 4)
    });
    manager.signal(Signal::TERM);
    manager.finish().status(143);
    assert_eq!(drawn(&served), "1");
    assert_eq!(served.site.all_masters().len(), 2);
}

/// The symlink leads to a release that has not proved itself: the operator decides.
#[test]
fn supervisor_leaves_a_release_alone_whose_canary_was_killed() {
    let served = supervised("");
    super::write(&served.site, "");
    let manager = watching(&served.site, "50%", LONG);
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    served.await_log("was not decided: its command was killed");
    assert_eq!(served.site.releases(), vec![served.site.path("www/release1"); 2]);
    served.site.run(&["restart"]).succeeds();
    assert_eq!(served.site.releases(), vec![served.site.path("www/release2"); 2]);
    assert_eq!(served.site.all_masters().len(), 2);
}

/// Ends a canary by share at a failpoint, and checks that the next command leaves nothing of it.
fn killed_at(served: &Served, at: &str) -> bool {
    let args = ["switch", "www", "release2", "--canary", "50%", "--for", "10ms"];
    let order = format!("KILL {at}");
    let ran = served.site.run_with(&args, |command| {
        command.env("POOLS_MANAGER_TEST_AT", &order);
    });
    let is_killed = !ran.has_succeeded();
    if is_killed {
        ran.killed_by(Signal::KILL);
    }
    served.site.run(&["repair"]).succeeds();
    assert_eq!(served.site.all_masters().len(), 2, "{at}");
    let releases = served.site.releases();
    assert_eq!(releases[0], releases[1], "{at}");
    let left = served.site.file_names().into_iter().find(|name| name.contains("canary"));
    assert_eq!(left, None, "{at}");
    let answer = served.get("/which.php");
    let release = releases[0].to_string_lossy().chars().last().unwrap().to_string();
    assert_eq!((answer.text(), answer.header("set-cookie")), (release, None), "{at}");
    is_killed
}

fn no_request_failed(visitors: Visitors) {
    let seen = visitors.finish();
    let mut bad = seen.iter().flatten().filter(|it| !["1", "2"].contains(&it.release.as_str()));
    assert_eq!(bad.next(), None);
}

#[test]
fn command_that_is_killed_while_something_is_half_done_loses_no_request() {
    for at in [
        "the record of a canary written, not in its place",
        "after: send new visitors to generation 2 of replica 1",
        "after: publish generation 2 of replica 1",
    ] {
        let served = served("");
        let visitors = Visitors::start(&served, 2);
        assert!(killed_at(&served, at), "{at}");
        // Also after the last failpoint, where one replica had published the canary already.
        assert_eq!(served.site.releases()[0], served.site.path("www/release1"), "{at}");
        no_request_failed(visitors);
    }
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn command_that_is_killed_anywhere_loses_no_request() {
    for strategy in ["swap", "rolling"] {
        let served = served("");
        served.site.add_rollout(&format!("strategy = \"{strategy}\""));
        let visitors = Visitors::start(&served, 2);
        let killed = (1..).take_while(|n| {
            let is_killed = killed_at(&served, &n.to_string());
            served.site.run(&["switch", "www", "release1"]).succeeds();
            is_killed
        });
        assert!(killed.count() > 10);
        no_request_failed(visitors);
    }
}
