//! Signals: the first one stops a rollout at the next safe step, the second one at once.

use rustix::process::Signal;

use harness::Site;

const NOTED: &str = "stopping at the next good place; once more stops at once\n";

#[test]
fn interrupt_during_a_drain_enables_the_replica_again() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    for (signal, status) in signals {
        let before = (site.masters(), site.sockets(), site.members());
        let requests = site.hold_both();
        let mut manager = site.spawn(&["restart", "--json"]);
        manager.await_event("that it waits", |event| event["event"] == "progress");
        manager.signal(signal);
        manager.finish().status(status);
        assert_eq!((site.masters(), site.sockets(), site.members()), before);
        for request in requests {
            request.end(1);
        }
    }
    site.is_in_order_on("release1");
}

#[test]
fn interrupt_finishes_the_current_replica_and_leaves_the_next() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "rolling"]);
    warm_up.reached();
    manager.signal(Signal::TERM);
    assert_eq!(manager.await_complaint(), NOTED);
    warm_up.open();
    let ran = manager.finish();
    ran.status(143);
    let error = "error: told to stop by SIGTERM; pool \"www\" is left as follows: replica 1 runs ";
    assert!(ran.stderr.starts_with(error), "{ran}");
    assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release1")]);
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn interrupt_before_the_switch_undoes_a_swap() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    let before = (site.masters(), site.sockets(), site.members());
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "swap"]);
    warm_up.reached();
    manager.signal(Signal::INT);
    assert_eq!(manager.await_complaint(), NOTED);
    warm_up.open();
    manager.finish().status(130);
    assert_eq!((site.masters(), site.sockets(), site.members()), before);
    site.run(&["restart", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn second_signal_stops_at_once_and_the_next_command_recovers() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "rolling"]);
    warm_up.reached();
    manager.signal(Signal::INT);
    assert_eq!(manager.await_complaint(), NOTED);
    manager.signal(Signal::INT);
    manager.finish().status(130);
    warm_up.open();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

/// Apache forgets an error only while it ignores the member's errors. If this setting stayed, Apache would
/// send requests to a replica that fails.
#[test]
fn interrupt_restores_the_error_handling_of_a_member() {
    let site = Site::prepared();
    site.replace("etc/apache2/sites-enabled/82-php-fpm.conf", " retry=0\n", "\n");
    let site = site.serve();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let fails = || {
        site.kill_replica(2);
        site.status_when(|status| status["pools"][0]["replicas"][1]["lb"] == "Init Err");
    };
    let is_ignored = || site.members()[1].contains("Ign");
    fails();
    let places = site.places_of(&["start"]);
    let nth = 1 + places.iter().position(|place| place == "a member's errors ignored").unwrap();

    fails();
    let manager = site.halt_at(nth, &["start"]);
    assert!(is_ignored());
    manager.signal(Signal::INT);
    manager.signal(Signal::TERM);
    manager.signal(Signal::CONT);
    let ran = manager.finish();
    // The order of the two is unknown.
    let said = ran.to_string();
    assert!(["130", "143"].iter().any(|it| said.ends_with(&format!("exit status: {it}"))), "{ran}");
    assert!(!is_ignored(), "{ran}");

    site.run(&["start"]).succeeds();
    fails();
    site.kill_at(nth, &["start"], 0).unwrap();
    assert!(is_ignored());
    site.run(&["start"]).succeeds();
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    site.is_in_order_on("release1");
    load.finish();
}

/// The last replica is finished in any case: nothing is left to stop.
#[test]
fn interrupt_in_the_last_replica_is_no_failure() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let manager = site.spawn(&["restart", "www", "2", "--strategy", "rolling"]);
    warm_up.reached();
    manager.signal(Signal::INT);
    assert_eq!(manager.await_complaint(), NOTED);
    warm_up.open();
    let ran = manager.finish();
    assert!(ran.status(0).stdout.ends_with("balancer for replica 2  [OK]\n"), "{ran}");
    assert_eq!(site.releases(), [site.path("www/release1"), site.path("www/release2")]);
}

#[test]
fn interrupt_after_a_swap_has_switched_is_no_failure() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.switch("release2");
    let requests = site.hold_both();
    let mut manager = site.spawn(&["restart", "--strategy", "swap", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release2")]);
    manager.signal(Signal::INT);
    let note: serde_json::Value = serde_json::from_str(&manager.await_complaint()).unwrap();
    assert_eq!((&note["event"], &note["message"]), (&"note".into(), &NOTED.trim().into()));
    for request in requests {
        request.end(1);
    }
    manager.finish().status(0);
    assert!(site.run(&["history"]).stdout.ends_with("  done\n"));
    site.is_in_order_on("release2");
}
