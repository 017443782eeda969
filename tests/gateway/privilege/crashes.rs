//! The processes of the gateway are killed.

use std::net::TcpStream;

use harness::served::{Connection, Served};
use harness::{needs_root, wait_for};
use rustix::process::Signal;

use super::super::supervisor::await_release;
use super::super::upgrade::{Running, hold};
use super::child::Child;
use super::{GLOBAL, separate, served};

#[test]
fn killed_gateway_process_is_started_again_and_connections_wait() {
    needs_root!();
    let served = served("", "");
    for round in 0..3 {
        let child = Child::of(&served);
        // A halted child accepts nothing: these connections wait in the socket.
        child.signal(Signal::STOP);
        let mut waiting: Vec<Connection> = (0..20).map(|_| served.connect()).collect();
        for connection in &mut waiting {
            connection.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        child.signal(Signal::KILL);
        for connection in &mut waiting {
            assert_eq!(connection.answer().unwrap().status, 200, "round {round}");
        }
        assert_ne!(Child::of(&served).pid(), child.pid());
        // Commands reach the new child.
        served.site.run(&["restart", "www"]).succeeds();
    }
    assert!(served.await_log("has ended with signal: 9").contains("another one is started"));
}

#[test]
fn command_is_answered_by_the_next_gateway_process() {
    needs_root!();
    let served = served("", "");
    let child = Child::of(&served);
    child.signal(Signal::STOP);
    let maintenance = served.site.spawn(&["maintenance", "on", "www"]);
    wait_for("the wish", || served.site.path("pid/www.traffic.json").exists().then_some(()));
    child.signal(Signal::KILL);
    maintenance.finish().succeeds();
    assert_eq!(served.get("/ping.php").status, 503);
}

#[test]
fn halted_gateway_process_does_not_stop_serve_from_ending() {
    needs_root!();
    let mut served = served("", "shutdown_timeout = \"0s\"");
    let child = Child::of(&served);
    child.signal(Signal::STOP);
    let ran = served.stop_gateway();
    ran.status(1);
    assert!(ran.stderr.contains("does not answer, and its connections were cut"), "{ran}");
    child.await_end();
}

#[test]
fn halted_gateway_process_of_a_replaced_serve_does_not_stop_it_from_ending() {
    needs_root!();
    let served = served("", "");
    let child = Child::of(&served);
    let (_held, _) = hold(&served, "held");
    let running = Running::of(&served);
    running.upgrade();
    child.signal(Signal::STOP);
    let ran = served.site.run(&["switch", "www", "release2", "--strategy", "swap"]);
    assert!(ran.status(1).stdout.contains("does not answer"), "{ran}");
    let old = served.gateway();
    wait_for("its end", || {
        // The second signal cuts the request.
        old.signal(Signal::TERM);
        old.has_ended().then_some(())
    });
    child.await_end();
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn killed_parent_leaves_no_request_behind_and_the_next_serve_starts() {
    needs_root!();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = separate("", "");
    site.replace(GLOBAL, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let served = Served::serve(site);
    await_release(&served, "release1");
    let gate = served.site.scratch().join("gate");
    let wait = format!(
        "<?php while (!file_exists('{0}')) {{ usleep(1000); clearstatcache(); }} echo 'end';",
        gate.display()
    );
    served.page("wait.php", &wait);
    let mut connection = served.connect();
    connection.send("GET /wait.php HTTP/1.1\r\nHost: a\r\n\r\n");
    served.await_in_flight(1);
    let child = Child::of(&served);
    served.gateway().signal(Signal::KILL);
    // The main thread of the killed process may end before its other threads, which still hold the files.
    let threads = format!("/proc/{}/task", served.gateway().pid().as_raw_nonzero());
    wait_for("its end", || {
        let left = std::fs::read_dir(&threads).unwrap().count();
        (served.gateway().has_ended() && left == 1).then_some(())
    });
    // At once: the child of the killed process may still listen.
    let mut next = served.site.spawn(&["serve"]);
    next.await_line("that it serves", |line| line.starts_with("Serving on "));
    assert_eq!(served.get("/ping.php").status, 200);
    assert!(!child.has_ended());
    std::fs::write(&gate, "").unwrap();
    assert_eq!(connection.answer().unwrap().text(), "end");
    child.await_end();
    next.signal(Signal::TERM);
    next.finish().status(0);
}

#[test]
fn gateway_process_without_a_parent_listens_no_more_and_ends() {
    needs_root!();
    let mut served = served("", "");
    let child = Child::of(&served);
    served.kill_gateway();
    child.await_end();
    assert!(TcpStream::connect(("127.0.0.1", served.port())).is_err());
}

#[test]
fn program_of_the_gateway_process_refuses_to_run_by_itself() {
    let site = harness::Site::prepared();
    let ran = site.run(&["gateway-process"]);
    ran.status(1);
    assert!(ran.stderr.contains("only serve itself starts this program"), "{ran}");
}

#[test]
fn account_that_cannot_start_again_is_tried_until_it_can() {
    needs_root!();
    let served = served("", "");
    let child = Child::of(&served);
    served.site.replace(GLOBAL, "threads = 2\n", "threads = x\n");
    child.signal(Signal::KILL);
    served.await_log("expected");
    let mut waiting = served.connect();
    waiting.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    served.site.replace(GLOBAL, "threads = x\n", "threads = 2\n");
    assert_eq!(waiting.answer().unwrap().status, 200);
    wait_for("commands", || served.site.run(&["restart", "www"]).has_succeeded().then_some(()));
}
