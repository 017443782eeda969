//! Requests in flight when a command begins are served to the end.

use std::time::{Duration, Instant};

use harness::{Site, wait_for};

#[test]
fn stop_cuts_no_request() {
    nothing_is_cut_by(&["stop"], &[1, 2]);
}

#[test]
fn rolling_restart_cuts_no_request() {
    nothing_is_cut_by(&["restart", "--strategy", "rolling"], &[1, 2]);
}

#[test]
fn swap_cuts_no_request() {
    nothing_is_cut_by(&["restart", "--strategy", "swap"], &[1, 2]);
}

#[test]
fn stop_of_one_replica_cuts_no_request() {
    nothing_is_cut_by(&["stop", "single", "www", "1"], &[1]);
}

/// When the command begins, each replica has a request in its third second. Each request that the command
/// has to wait for ends when the command has waited for one more second.
fn nothing_is_cut_by(command: &[&str], waited_for: &[u32]) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let begun = Instant::now();
    let requests = site.hold_both();
    site.switch("release2");
    wait_for("the third second", || (begun.elapsed() > Duration::from_secs(2)).then_some(()));
    assert_eq!(site.in_flight(), 2);

    let mut manager = site.spawn(&[command, &["--json"]].concat());
    for (replica, request) in (1..).zip(requests) {
        if waited_for.contains(&replica) {
            manager.await_event("that it has waited for a second", |event| {
                event["event"] == "progress"
                    && event["replica"] == replica
                    && event["waited_ms"].as_u64() >= Some(1000)
            });
        }
        request.end(1);
    }
    manager.finish().succeeds();
}

#[test]
fn request_longer_than_the_timeout_is_cut_and_counted() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let request = site.hold();
    let replica = request.by.trim_start_matches("www");
    let ran = site.run(&["stop", "single", "www", replica, "--timeout", "1"]);
    let warning = format!(
        "  Warning: generation 1 of replica {replica} is still busy after 1s: 1 request will be cut\n"
    );
    assert!(ran.succeeds().stdout.ends_with(&warning), "{ran}");
    assert_eq!(site.in_flight(), 0);
    // The other replica is not affected.
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
}
