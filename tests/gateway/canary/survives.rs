//! A canary whose command is killed, and one whose gateway is replaced.

use harness::wait_for;
use rustix::process::Signal;
use serde_json::Value;

use super::{LONG, Visitors, drawn, one_of_each, served, watching};
use crate::supervisor::supervised;

#[test]
fn canary_ends_with_its_command_and_the_next_command_cleans_up() {
    for next in [&["repair"][..], &["restart"], &["start"], &["switch", "www", "release2"]] {
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
