//! Web servers in front of a pool, each with what `pools-manager snippet` prints for it: restarts lose
//! no request, and run no form twice.

mod clients;
mod http;
mod kept;
mod samples;

use harness::{HAPROXY, Site, wait_for};

use clients::{Kept, Uploads};

/// The load during the restarts, and how many there are.
struct Run {
    restarts: usize,
    pings: u32,
    sleepers: u32,
    /// How long a sleeper's request takes.
    seconds: &'static str,
}

/// For the quick tests.
const SHORT: Run = Run { restarts: 2, pings: 1, sleepers: 2, seconds: "0.3" };
const LONG: Run = Run { restarts: 25, pings: 8, sleepers: 2, seconds: "2" };

/// A site behind a web server, with its snippet. pools-manager drains only the servers of HAProxy.
fn site(kind: &'static str) -> Site {
    let site = Site::prepared();
    site.set_backend(if kind == "haproxy" { HAPROXY } else { "" });
    start(site.serve_snippet(kind))
}

fn start(site: Site) -> Site {
    site.run(&["start"]).succeeds();
    wait_for("the web server", || {
        site.client().ask("GET", "/ping.php", "", "").is_ok_and(|it| it.status == 200).then_some(())
    });
    site
}

fn restarts_lose_nothing(kind: &'static str, strategy: &str, run: &Run) {
    let site = site(kind);
    let uploads = Uploads::begin(&site, 2);
    let kept = Kept::begin(&site, 2);
    let pings = site.pings(run.pings);
    let sleepers = site.sleepers(run.sleepers, run.seconds);
    let mut serving = 1;
    for release in [2, 1].into_iter().cycle().take(run.restarts) {
        serving = release;
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{release}\n"));
    }
    for load in [pings, sleepers] {
        let summary = load.finish();
        assert_eq!(summary["releases"].as_array().unwrap().len(), 2, "{summary:#}");
    }
    kept.finish();
    uploads.each_ran_once();
    site.serves(&format!("release{serving}"));
}

macro_rules! restarts {
    ($($short:ident, $long:ident: $kind:literal, $strategy:literal;)*) => {$(
        #[test]
        fn $short() {
            restarts_lose_nothing($kind, $strategy, &SHORT);
        }

        #[test]
        #[ignore = "a soak: bin/test --all"]
        fn $long() {
            restarts_lose_nothing($kind, $strategy, &LONG);
        }
    )*};
}

restarts! {
    rolling_restarts_behind_haproxy_lose_nothing, many_rolling_restarts_behind_haproxy_lose_nothing: "haproxy", "rolling";
    swaps_behind_haproxy_lose_nothing, many_swaps_behind_haproxy_lose_nothing: "haproxy", "swap";
    swaps_behind_nginx_lose_nothing, many_swaps_behind_nginx_lose_nothing: "nginx", "swap";
    swaps_behind_caddy_lose_nothing, many_swaps_behind_caddy_lose_nothing: "caddy", "swap";
    swaps_behind_apache_lose_nothing, many_swaps_behind_apache_lose_nothing: "apache", "swap";
}

#[test]
fn reloads_of_nginx_during_swaps_lose_nothing() {
    use rustix::process::{Signal, kill_process};
    let site = site("nginx");
    let uploads = Uploads::begin(&site, 2);
    let load = site.steady_load();
    for (release, next) in [(1, 2), (2, 1)] {
        let request = site.hold();
        site.switch(format!("release{next}"));
        let mut manager = site.spawn(&["restart", "--strategy", "swap", "--json"]);
        manager.await_event("that it waits for the request", |event| event["accepted"] == 1);
        kill_process(site.web_server_pid(), Signal::HUP).unwrap();
        // The old workers serve their requests to the end, the new ones serve the others.
        assert_eq!(site.get("/ping.php").body, format!("pong{next}\n"));
        request.end(release);
        manager.finish().succeeds();
        site.serves(&format!("release{next}"));
    }
    load.finish();
    uploads.each_ran_once();
}

/// Without uploads: HAProxy itself (2.6) tells php-fpm at a reload that the requests in flight are
/// aborted, and php-fpm takes that for the end of a body.
#[test]
fn reload_of_haproxy_during_swaps_loses_no_request() {
    let mut site = site("haproxy");
    let kept = Kept::begin(&site, 2);
    let load = site.steady_load();
    for (release, next) in [(1, 2), (2, 1)] {
        let request = site.hold();
        site.switch(format!("release{next}"));
        let mut manager = site.spawn(&["restart", "--strategy", "swap", "--json"]);
        manager.await_event("that it waits for the request", |event| event["accepted"] == 1);
        site.reload_haproxy();
        request.end(release);
        manager.finish().succeeds();
        site.serves(&format!("release{next}"));
    }
    load.finish();
    kept.finish();
}
