//! Reloads of HAProxy, which forget what is drained.

use harness::wait_for;

#[test]
fn reload_of_haproxy_during_a_drain_loses_no_request() {
    let mut site = super::running();
    let load = site.steady_load();
    for (release, next) in [(1, 2), (2, 1)] {
        let request = site.hold_on(1);
        site.switch(format!("release{next}"));
        let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
        manager.await_event("that it waits for the request", |event| {
            event["replica"] == 1 && event["accepted"] == 1
        });
        assert_eq!(site.members()[0], "DRAIN");
        site.reload_haproxy();
        wait_for("the new HAProxy", || (site.members() == ["UP", "UP"]).then_some(()));
        request.end(release);
        // The replica is drained again before the old generation stops.
        manager.await_event("that it drains again", |event| {
            event["event"] == "warning"
                && event["text"]
                    .as_str()
                    .unwrap()
                    .contains("had forgotten that replica 1 is drained")
        });
        manager.finish().succeeds();
        site.is_in_order_on(&format!("release{next}"));
    }
    load.finish();
}

/// As with Apache, the command waits for HAProxy as long as `ready_timeout` allows.
#[test]
fn restart_of_haproxy_during_a_drain_is_waited_for() {
    let site = super::running();
    let request = site.hold_on(1);
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits for the request", |event| event["accepted"] == 1);
    site.while_moved_away("sockets/haproxy.sock", || {
        request.end(1);
        manager.await_event("that it is about to stop", |event| {
            event["event"] == "step_started" && event["step"] == "stop"
        });
        assert_eq!(site.all_masters().len(), 2);
    });
    manager.finish().succeeds();
    site.is_in_order_on("release2");
}

/// The replica that was to be stopped serves on.
#[test]
#[ignore = "takes long: bin/test --all"]
fn loss_of_the_socket_during_a_drain_stops_nothing() {
    let site = super::running();
    site.add_rollout("ready_timeout = \"5s\"");
    let load = site.steady_load();
    let masters = site.masters();
    let request = site.hold_on(1);
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits for the request", |event| event["accepted"] == 1);
    site.while_moved_away("sockets/haproxy.sock", || {
        request.end(1);
        let ran = manager.finish();
        assert!(ran.status(1).stderr.contains("cannot connect to HAProxy at"), "{ran}");
        assert_eq!(site.all_masters().len(), 2);
    });
    assert_eq!(site.masters(), masters);
    assert_eq!(site.members(), ["DRAIN", "UP"]);
    site.switch("release1");
    site.run(&["start"]).succeeds();
    assert_eq!(site.members(), ["UP", "UP"]);
    site.is_in_order_on("release1");
    load.finish();
}
