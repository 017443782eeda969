//! The upgrade of `serve`: a new process takes the place of the running one.

mod canary;
mod clients;
mod failures;
mod http2;
mod overlap;
mod running;
mod sockets;

use std::time::Instant;

use harness::served::Served;
use harness::{Program, copy_program};
use rustix::process::Signal;

use super::supervisor::{await_release, site};
pub(crate) use clients::{Clients, Slow};
use http2::Http2Clients;
pub(crate) use overlap::hold;
pub(crate) use running::Running;
pub(crate) use sockets::activated;

/// What an upgrade must not touch: short requests, uploads and downloads that take longer than the upgrade,
/// connections that wait for their next request, and requests by HTTP/2.
fn upgrades_under_load(count: usize) {
    let served = Served::serve(global(site("", ""), "shutdown_timeout = \"60s\""));
    let running = Running::of(&served);
    await_release(&served, "release1");
    let clients = Clients::start(&served, 4);
    let http2 = Http2Clients::start(&served, 2);
    let slow = Slow::start(&served, count);
    for round in 0..count {
        let mut idle = [served.connect(), served.connect(), served.connect()];
        for connection in &mut idle {
            assert!(!connection.get("/ping.php").unwrap().closes());
        }
        let before = running.pid();
        running.upgrade();
        assert_ne!(running.pid(), before);
        for connection in &mut idle {
            let answer = connection.get("/release.txt").unwrap();
            assert!(answer.status == 200 && answer.closes(), "round {round}");
            connection.is_closed();
        }
        clients.await_more(20);
    }
    slow.finish();
    clients.finish();
    http2.finish(count);
    running.await_alone();
}

/// Adds a line to the global `[gateway]`.
fn global(site: harness::Site, line: &str) -> harness::Site {
    site.replace("etc/pools-manager.toml", "threads = 2\n", &format!("threads = 2\n{line}\n"));
    site
}

#[test]
fn ten_upgrades_under_load_refuse_cut_and_double_nothing() {
    upgrades_under_load(10);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn hundred_upgrades_under_load_refuse_cut_and_double_nothing() {
    upgrades_under_load(100);
}

#[test]
fn usr2_starts_the_program_that_is_installed_now() {
    let site = site("", "");
    let program = site.copy_of_program();
    let serve = Program::start(site.command(&program).arg("serve"));
    let served = Served::serve_by(site, serve);
    let running = Running::of(&served);
    let before = running.pid();
    // A package replaces the file.
    let new = served.site.path("bin/new");
    copy_program(&program, &new);
    std::fs::rename(&new, &program).unwrap();
    served.gateway().signal(Signal::USR2);
    served.await_log("serves now, this process ends after its requests");
    running.await_alone();
    assert_ne!(running.pid(), before);
    let executed = std::fs::read_link(format!("/proc/{}/exe", running.pid())).unwrap();
    assert_eq!(executed, program);
    assert_eq!(served.get("/ping.php").status, 200);
    // The parent of the running process has ended. The next upgrade works too.
    running.upgrade();
    assert_eq!(served.get("/ping.php").status, 200);
}

/// The latency of requests through upgrades, beside that of the same requests without.
#[test]
#[ignore = "a measurement: bin/test --all"]
fn upgrade_adds_at_most_a_round_trip() {
    let served = Served::serve(site("", ""));
    let running = Running::of(&served);
    await_release(&served, "release1");
    for upgrades in [0, 10] {
        let clients = Clients::start(&served, 2);
        let begun = Instant::now();
        for _ in 0..upgrades {
            running.upgrade();
            clients.await_more(100);
        }
        clients.await_more(2000);
        let latencies = clients.finish();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 1000];
        println!(
            "{upgrades} upgrades: {} requests in {:?}: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            latencies.len(),
            begun.elapsed(),
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    }
}
