//! Many restarts with alternating releases, on a site that is never idle.

use harness::Site;

const RESTARTS: usize = 25;

/// The load during the restarts.
struct Bears {
    pings: u32,
    sleepers: u32,
    /// How long a sleeper's request takes.
    seconds: &'static str,
}

/// Both kinds of requests together: short ones as many as the machine can do, and long ones that
/// are under way during every step.
const BUSY: Bears = Bears { pings: 8, sleepers: 2, seconds: "2" };

/// More clients than the pool has children: there is always a request in the queue.
const SATURATED: Bears = Bears { pings: 32, sleepers: 1, seconds: "0.5" };

#[test]
#[ignore = "a soak: bin/test --all"]
fn rolling_restarts_lose_no_request_on_a_busy_site() {
    restarts_lose_nothing("rolling", &BUSY);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn swaps_lose_no_request_on_a_busy_site() {
    restarts_lose_nothing("swap", &BUSY);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn rolling_restarts_lose_no_request_on_a_saturated_site() {
    restarts_lose_nothing("rolling", &SATURATED);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn swaps_lose_no_request_on_a_saturated_site() {
    restarts_lose_nothing("swap", &SATURATED);
}

/// The content of each answer shows that it is whole and came from one release.
fn restarts_lose_nothing(strategy: &str, bears: &Bears) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let pings = site.pings(bears.pings);
    let sleepers = site.sleepers(bears.sleepers, bears.seconds);
    for release in [2, 1].into_iter().cycle().take(RESTARTS) {
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{release}\n"));
    }
    for load in [pings, sleepers] {
        let summary = load.finish();
        let releases = summary["releases"].as_array().unwrap();
        assert_eq!(releases.len(), 2, "{summary:#}");
    }
    site.run(&["status"]).succeeds();
    site.apache_saw_no_error();
}
