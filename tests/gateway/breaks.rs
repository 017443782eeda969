//! Scripts and replicas that break: a client never takes half an answer for a whole one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;

use crate::served::{Connection, Served, fix_children};
use harness::{Ran, wait_for};

fn begin(served: &Served, page: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

#[test]
fn headers_that_make_no_sense_are_not_passed_on() {
    let served = Served::new();
    // php-fpm checks what a script says by header(); what it does not check is tried here.
    served.page("name.php", "<?php header('Bad Name: x'); echo 'x';");
    served.page("early.php", "<?php header('Status: 103 Early Hints'); echo 'x';");
    served.page("zero.php", "<?php header('Status: 0'); echo 'x';");
    served.page("many.php", "<?php for ($i = 0; $i < 300; $i++) header(\"X-$i: x\");");
    served.page("huge.php", "<?php header('X: ' . str_repeat('x', 200000));");
    for page in ["name", "early", "zero", "many", "huge"] {
        let answer = served.get(&format!("/{page}.php"));
        assert_eq!(answer.status, 502, "{page}: {answer:?}");
    }
    // What is between the gateway and its client is not the script's to say.
    served.page("hop.php", "<?php header('Connection: close'); header('Transfer-Encoding: chunked'); header('Keep-Alive: x'); echo 'whole';");
    let mut connection = served.connect();
    let answer = connection.get("/hop.php").unwrap();
    assert_eq!((answer.text().as_str(), answer.closes()), ("whole", false));
    assert_eq!(connection.get("/ping.php").unwrap().status, 200);
}

#[test]
fn a_script_that_ends_in_the_middle_has_said_what_it_has_said() {
    let served = Served::new();
    served.page("exit.php", "<?php echo 'half'; exit(3);");
    served.page("fatal.php", "<?php error_log('complaint'); nothing_of_that_name();");
    assert_eq!(served.get("/exit.php").text(), "half");
    assert_eq!(served.get("/fatal.php").status, 500);
    let mut served = served;
    let said = served.stop_gateway().stderr;
    assert!(said.contains("pool \"www\", request ") && said.contains("complaint"), "{said}");
}

/// Killed before it has said anything, and after: with a length, and without one.
#[test]
fn a_child_that_is_killed_leaves_a_broken_answer() {
    let served = Served::new();
    let die = "posix_kill(getmypid(), 9); while (true) usleep(1000);";
    let print = "echo str_repeat('x', 300000); flush();";
    served.page("before.php", &format!("<?php {die}"));
    served.page("chunked.php", &format!("<?php {print} {die}"));
    served.page("length.php", &format!("<?php header('Content-Length: 400000'); {print} {die}"));
    assert_eq!(served.get("/before.php").status, 502);
    for page in ["/chunked.php", "/length.php"] {
        let mut connection = begin(&served, page);
        match connection.answer() {
            // It had not begun to pass on what there was.
            Ok(answer) => assert_eq!(answer.status, 502, "{page}"),
            Err(_) => connection.is_closed(),
        }
    }
    assert_eq!(served.get("/ping.php").status, 200);
}

/// A replica that has died: its requests go to the other one, and it comes back by itself.
#[test]
fn a_replica_that_cannot_be_reached_is_left_out_until_it_can() {
    let served = Served::new();
    served.page("who.php", include_str!("../real/pages/who.php"));
    served.site.kill_replica(1);
    for _ in 0..20 {
        assert_eq!(served.get("/who.php").text(), "www2");
    }
    served.site.run(&["start"]).succeeds();
    wait_for("the first replica", || (served.get("/who.php").text() == "www1").then_some(()));
    served.site.run(&["status", "-q"]).succeeds();
}

#[test]
fn a_pool_without_any_replica_is_waited_for() {
    let served = Served::with("queue_timeout = \"60s\"", "");
    let masters = served.site.masters();
    served.site.kill(&masters);
    wait_for("the end of all children", || {
        let left: Vec<_> = served.site.php_fpm().iter().map(|it| it.pid).collect();
        served.site.kill(&left);
        left.is_empty().then_some(())
    });
    let mut waits = begin(&served, "/ping.php");
    let said = served.gateway().await_complaint();
    assert!(said.contains("cannot connect"), "{said}");
    served.site.run(&["start"]).succeeds();
    assert_eq!(waits.answer().unwrap().text(), "pong1\n");
}

#[test]
fn a_script_that_is_silent_for_too_long_is_given_up() {
    let served = Served::with("request_timeout = \"200ms\"", "");
    served.page("sleep.php", "<?php while (true) usleep(1000);");
    served.page("begun.php", "<?php echo 'x'; while (ob_get_level()) ob_end_flush(); flush(); while (true) usleep(1000);");
    assert_eq!(served.get("/sleep.php").status, 504);
    begin(&served, "/begun.php").answer().unwrap_err();
}

/// Connections to php-fpm that are kept are used again; one that php-fpm has closed costs nothing.
#[test]
fn kept_connections_are_used_again_and_their_end_is_not_noticed() {
    let site = Served::site("", "");
    fix_children(&site, 3);
    // They end after a few requests each, which closes what was kept.
    let conf = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.write(conf, &format!("{}\npm.max_requests = 5\n", site.read(conf)));
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served.page("pid.php", "<?php echo getmypid();");
    let mut connection = served.connect();
    let pids: Vec<String> = (0..200).map(|_| connection.get("/pid.php").unwrap().text()).collect();
    // They go to both replicas in turn.
    assert!(pids.windows(3).any(|three| three[0] == three[2]), "{pids:?}");
    // Nobody asks any more: the children are let go.
    served.await_in_flight(0);
    served.site.run(&["status", "-q"]).succeeds();
    served.site.run(&["restart"]).succeeds();
    served.site.is_in_order_on("release1");
}

/// While more requests wait than there are children, connections pass from one to the next. A ping
/// comes by a connection of its own.
#[test]
fn a_ping_gets_a_child_though_all_have_more_to_do_than_they_can() {
    let served = Served::with_children(2, "", "");
    served.page("busy.php", "<?php usleep(5000);");
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..12 {
            let (mut connection, enough) = (served.connect(), &enough);
            scope.spawn(move || {
                while !enough.load(Relaxed) {
                    assert_eq!(connection.get("/busy.php").unwrap().status, 200);
                }
            });
        }
        let pings = (0..20).map(|_| served.site.run(&["status", "-q"]));
        let pings: Vec<Ran> = pings.collect();
        enough.store(true, Relaxed);
        for ping in &pings {
            ping.succeeds();
        }
    });
}

#[test]
fn a_gateway_that_is_told_to_end_ends_what_it_has_begun() {
    let mut served = Served::new();
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let mut held = begin(&served, &format!("/hold.php?mark={}", mark.display()));
    wait_for("the script", || std::fs::read(mark.with_extension("begun")).ok());
    let mut idle = served.connect();
    assert_eq!(idle.get("/ping.php").unwrap().status, 200);
    served.gateway().signal(Signal::TERM);
    idle.is_closed();
    wait_for("that nobody listens", || {
        std::net::TcpStream::connect(("127.0.0.1", served.port())).err().map(drop)
    });
    std::fs::write(mark.with_extension("end"), "").unwrap();
    assert!(held.answer().unwrap().text().ends_with("ended on release 1\n"));
    served.finish_gateway().succeeds();
    assert!(!served.site.path("sockets/pools-manager.sock").exists());
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let mut served = Served::with("", "shutdown_timeout = \"100ms\"");
    served.page("sleep.php", "<?php while (true) usleep(1000);");
    let mut held = begin(&served, "/sleep.php");
    served.await_in_flight(1);
    let ran = served.stop_gateway();
    let error = "error: 1 connections did not end within shutdown_timeout and were cut\n";
    assert!(ran.status(1).stderr.ends_with(error), "{ran}");
    held.answer().unwrap_err();
}
