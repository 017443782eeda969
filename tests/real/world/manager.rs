//! balancer-manager fails while Apache serves. See [`Front`](harness::Front).

use harness::{Front, Load, Mode, Program, Site};

const BAD: [Mode; 3] = [Mode::Fails, Mode::HangsUp, Mode::Silent];

fn running(ready_timeout: &str) -> (Site, Front) {
    let site = Site::new();
    let front = site.front();
    site.add_rollout(&format!("ready_timeout = {ready_timeout:?}"));
    site.run(&["start"]).succeeds();
    (site, front)
}

/// A rolling restart that has drained replica 1, whose last request ends now.
fn drained(site: &Site, mode: Mode, front: &Front) -> (Program, Load) {
    let requests = site.hold_both();
    let load = site.steady_load();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    front.answers(mode);
    for request in requests {
        request.end(1);
    }
    (manager, load)
}

#[test]
fn slow_balancer_manager_is_waited_for() {
    let (site, front) = running("10s");
    front.answers(Mode::Late);
    let load = site.steady_load();
    site.goes_both_ways();
    load.finish();
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn failing_balancer_manager_is_reported_before_any_change() {
    let (site, front) = running("3s");
    let load = site.steady_load();
    let before = (site.masters(), site.sockets());
    let words = [
        "answers 500 Internal Server Error\n  help: Apache's error log says why\n",
        "failed: ",
        "no answer from ",
    ];
    for (mode, said) in BAD.into_iter().zip(words) {
        front.answers(mode);
        for command in [&["restart"][..], &["restart", "--strategy", "swap"]] {
            let ran = site.run(command);
            ran.status(2).stdout("Redundant pool \"www\"...\n");
            assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(said), "{ran}");
        }
    }
    front.answers(Mode::Well);
    assert_eq!((site.masters(), site.sockets()), before);
    site.run(&["status", "-q"]).succeeds();
    load.finish();
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn balancer_manager_that_answers_500_after_the_drain_leaves_both_replicas_running() {
    fails_after_the_drain(Mode::Fails);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn balancer_manager_that_hangs_up_after_the_drain_leaves_both_replicas_running() {
    fails_after_the_drain(Mode::HangsUp);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn balancer_manager_that_is_silent_after_the_drain_leaves_both_replicas_running() {
    fails_after_the_drain(Mode::Silent);
}

fn fails_after_the_drain(mode: Mode) {
    let (site, front) = running("5s");
    let (manager, load) = drained(&site, mode, &front);
    let ran = manager.finish();
    let (old, new) = (site.path("www/release1"), site.path("www/release2"));
    let left = format!("replica 1 runs {}; replica 2 runs {}; ", new.display(), old.display());
    assert!(ran.status(1).stderr.contains(&left), "{ran}");
    front.answers(Mode::Well);
    assert_eq!(site.members(), ["Init Drn Ok", "Init Ok"]);
    // `start` brings replica 1 back, and `restart` finishes the rollout.
    site.run(&["start"]).succeeds();
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn balancer_manager_that_recovers_in_time_costs_no_request() {
    for mode in BAD {
        let (site, front) = running("30s");
        let (mut manager, load) = drained(&site, mode, &front);
        manager.await_event("that it enables replica 1", |event| event["step"] == "enable");
        front.answers(Mode::Well);
        manager.finish().succeeds();
        site.is_in_order_on("release2");
        load.finish();
    }
}
