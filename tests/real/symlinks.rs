//! The release link: for any kind of target, and whenever it moves, all replicas get the release that
//! it named when the command began.

use std::fs;

use harness::Site;

#[test]
fn release_link_can_be_relative_absolute_or_a_link_to_a_link() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.point("www/stable", "release1");
    let targets = [
        ("release2".into(), "release2"),
        (site.path("www/release1"), "release1"),
        ("./../www/release2/".into(), "release2"),
        ("stable".into(), "release1"),
        (site.path("www/current/../release2"), "release2"),
    ];
    for (target, release) in targets {
        site.switch(&target);
        site.run(&["restart"]).succeeds();
        site.is_in_order_on(release);
        let pong = release.replace("release", "pong");
        assert_eq!(site.get("/ping.php").body, format!("{pong}\n"), "{}", target.display());
    }
}

#[test]
fn rolling_restart_reads_the_release_link_once() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let requests = site.hold_both();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    for ((replica, request), target) in (1..).zip(requests).zip(["release1", "nowhere"]) {
        manager.await_event("that it waits", |event| {
            event["event"] == "progress" && event["replica"] == replica
        });
        site.switch(target);
        request.end(1);
    }
    manager.finish().succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn swap_reads_the_release_link_once() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "swap"]);
    warm_up.reached();
    site.switch("release1");
    site.switch("nowhere");
    warm_up.open();
    manager.finish().succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn constantly_moving_link_is_read_once() {
    for strategy in ["rolling", "swap"] {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let load = site.sleepers(2, "0.005");
        let (manager, warm_up) = site.restart_until_warm_up(strategy);
        let mut releases = ["release1", "release2"].into_iter().cycle();
        releases.by_ref().take(50).for_each(|release| site.switch(release));
        warm_up.open();
        let mut flips = 50;
        while flips < 100 || !manager.has_ended() {
            site.switch(releases.next().unwrap());
            flips += 1;
        }
        manager.finish().succeeds();
        site.is_in_order_on("release2");
        load.finish();
    }
}

#[test]
fn release_is_the_directory_not_its_name() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    // The old release is renamed, and another one takes its name: the link has not moved at all.
    fs::rename(site.path("www/release1"), site.path("www/before")).unwrap();
    fs::rename(site.path("www/release2"), site.path("www/release1")).unwrap();
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    assert_eq!(site.releases(), [site.path("www/before"), site.path("www/before")]);
    site.run(&["restart"]).succeeds();
    assert_eq!(site.get("/ping.php").body, "pong2\n");
    site.is_in_order_on("release1");
}
