//! What happens while the old process still has requests: rollouts, signals, the next upgrade.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use harness::Site;
use harness::served::{Connection, Served};
use harness::wait_for;
use rustix::process::Signal;

use super::super::releases::{Seen, release_never_goes_back};
use super::super::supervisor::{await_release, site};
use super::running::{Running, is_alive};

/// A request that runs until the test ends it.
pub(crate) fn hold(served: &Served, name: &str) -> (Connection, std::path::PathBuf) {
    served.page("hold.php", include_str!("../../real/pages/hold.php"));
    let mark = served.site.scratch().join(name);
    let mut held = served.connect();
    held.send(&format!("GET /hold.php?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display()));
    wait_for("the script", || fs::read(mark.with_extension("begun")).ok());
    (held, mark)
}

/// Closes the connection: the old process would keep it for the next request.
fn ends_on_release_1(mut held: Connection) {
    assert!(held.answer().unwrap().text().ends_with("ended on release 1\n"));
}

fn supervised() -> Served {
    let served = Served::serve(site("", ""));
    await_release(&served, "release1");
    served
}

/// A connection to the old process on which the next request is the last one.
fn kept(served: &Served) -> Connection {
    let mut kept = served.connect();
    assert_eq!(kept.get("/ping.php").unwrap().text(), "pong1\n");
    kept
}

#[test]
fn request_of_the_old_process_gets_the_release_that_the_new_one_serves() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    let mut connections: Vec<Connection> = (0..4).map(|_| kept(&served)).collect();
    // Its body is complete only after the switch.
    let mut upload = served.connect();
    upload.send("POST /ping.php HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12");
    let old = running.pid();
    running.upgrade();
    let switch = served.site.spawn(&["switch", "www", "release2", "--strategy", "swap"]);
    wait_for("the new release", || (served.get("/release.txt").text() == "2\n").then_some(()));
    for (number, connection) in connections.iter_mut().enumerate() {
        let page = if number % 2 == 0 { "/ping.php" } else { "/release.txt" };
        assert!(connection.get(page).unwrap().text().contains('2'), "{page}");
    }
    upload.send("34");
    assert_eq!(upload.answer().unwrap().text(), "pong2\n");
    assert!(is_alive(old));
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    switch.finish().succeeds();
    running.await_alone();
}

/// Clients on new connections and clients that keep theirs, through upgrades and switches in turn: no
/// response has an older release than another response that had ended before the request began.
#[test]
#[ignore = "takes long: bin/test --all"]
fn release_never_goes_back_through_upgrades_and_switches() {
    let served = supervised();
    let running = Running::of(&served);
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6).map(|number| follow(&served, number % 2 == 0, &enough)).collect();
    // Releases in the order in which they are served.
    let releases: Vec<String> = (3..=6).map(|number| add_release(&served.site, number)).collect();
    for release in &releases {
        running.upgrade();
        served.site.run(&["switch", "www", release, "--strategy", "swap"]).succeeds();
    }
    enough.store(true, Ordering::Relaxed);
    let seen = clients.into_iter().flat_map(|it| it.join().unwrap()).collect();
    assert_eq!(release_never_goes_back(seen), 6);
}

fn add_release(site: &Site, number: u32) -> String {
    site.write(&format!("www/r{number}/release.txt"), &format!("{number}\n"));
    site.write(&format!("www/r{number}/ping.php"), &format!("<?php echo \"pong{number}\\n\";"));
    format!("r{number}")
}

fn follow(served: &Served, keeps: bool, enough: &Arc<AtomicBool>) -> JoinHandle<Vec<Seen>> {
    let (port, enough) = (served.port(), Arc::clone(enough));
    thread::spawn(move || {
        let (mut connection, mut seen) = (Connection::to(port), Vec::new());
        for page in ["/ping.php", "/release.txt"].iter().cycle() {
            if enough.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let answer = connection.get(page).unwrap();
            let ended = Instant::now();
            let text = answer.text();
            let number = text.trim().trim_start_matches("pong");
            let release = number.parse().unwrap_or_else(|_| panic!("{}: {text}", answer.status));
            seen.push(Seen { begun, ended, release });
            if !keeps || answer.closes() {
                connection = Connection::to(port);
            }
            harness::think();
        }
        seen
    })
}

/// The process in the middle is needed until the first one has ended.
#[test]
fn several_processes_can_drain_at_the_same_time() {
    let served = supervised();
    let running = Running::of(&served);
    let (first, mark) = hold(&served, "first");
    let mut kept_by_first = kept(&served);
    running.upgrade();
    let mut kept_by_second = kept(&served);
    running.upgrade();
    let switch = served.site.spawn(&["switch", "www", "release2", "--strategy", "swap"]);
    wait_for("the new release", || (served.get("/release.txt").text() == "2\n").then_some(()));
    assert_eq!(kept_by_second.get("/ping.php").unwrap().text(), "pong2\n");
    assert_eq!(running.all().len(), 3);
    assert_eq!(kept_by_first.get("/ping.php").unwrap().text(), "pong2\n");
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(first);
    switch.finish().succeeds();
    running.await_alone();
}

#[test]
fn rollout_of_a_command_goes_on_through_an_upgrade() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    let mut switch = served.site.spawn(&["switch", "www", "release2", "--json"]);
    switch.await_event("that it waits", |event| event["event"] == "progress");
    running.upgrade();
    running.upgrade();
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    switch.finish().succeeds();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
    await_release(&served, "release2");
}

#[test]
fn upgrade_waits_for_a_rollout_of_the_supervisor() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    served.site.switch("release2");
    wait_for("the rollout", || (served.get("/ping.php").text() == "pong2\n").then_some(()));
    let upgrade = served.site.spawn(&["serve", "--upgrade"]);
    served.await_log("upgrade: starting ");
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    upgrade.finish().succeeds();
    await_release(&served, "release2");
    let history = served.site.run(&["history", "--json"]);
    assert!(!history.stdout.contains("failed"), "{history}");
    running.await_alone();
}

#[test]
fn term_ends_both_processes_after_their_requests() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    let old = running.pid();
    running.upgrade();
    let new = running.pid();
    running.signal(Signal::TERM);
    wait_for("that it stops", || {
        std::net::TcpStream::connect(("127.0.0.1", served.port())).is_err().then_some(())
    });
    assert!(is_alive(old) && is_alive(new));
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    wait_for("the end", || (!is_alive(old) && !is_alive(new)).then_some(()));
    assert!(!served.site.path("sockets/pools-manager.sock").exists());
}

/// The old process passes signals on to the process that serves.
#[test]
fn signals_to_the_old_process_reach_the_new_one() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    running.upgrade();
    served.gateway().signal(Signal::HUP);
    served.await_log("reload done");
    let masters = served.site.masters();
    served.gateway().signal(Signal::USR1);
    wait_for("a new master", || (served.site.masters() != masters).then_some(()));
    // TERM ends the idle connections of the old process, and not the connection that has a request.
    let mut other = served.connect();
    assert_eq!(other.get("/ping.php").unwrap().status, 200);
    served.gateway().signal(Signal::TERM);
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    running.await_alone();
}

/// A request that is held in the old process gets the release that it meets at the end of the hold.
#[test]
fn hold_and_resume_reach_the_old_process() {
    let served = supervised();
    let running = Running::of(&served);
    let mut connection = kept(&served);
    running.upgrade();
    served.site.run(&["hold", "www"]).succeeds();
    connection.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    served.site.run(&["switch", "www", "release2", "--strategy", "swap"]).succeeds();
    served.site.run(&["resume", "www"]).succeeds();
    assert_eq!(connection.answer().unwrap().text(), "pong2\n");
    drop(connection);
    running.await_alone();
}

/// A frozen process could serve the old release later. So no release is switched before this process ends.
#[test]
fn switch_fails_while_the_old_process_does_not_answer() {
    let served = supervised();
    let running = Running::of(&served);
    let (held, mark) = hold(&served, "held");
    running.upgrade();
    served.gateway().signal(Signal::STOP);
    let ran = served.site.run(&["switch", "www", "release2", "--strategy", "swap"]);
    let old = served.gateway().pid();
    let why = format!("the previous serve, pid {}, still has requests", old.as_raw_nonzero());
    assert!(ran.status(1).stdout.contains(&why), "{ran}");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    served.gateway().signal(Signal::CONT);
    fs::write(mark.with_extension("end"), "").unwrap();
    ends_on_release_1(held);
    served.site.run(&["switch", "www", "release2", "--strategy", "swap"]).succeeds();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
}
