//! Scripts and replicas that fail: a client never takes an incomplete response for a complete one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;

use harness::served::{Connection, Served, fix_children};
use harness::{Ran, wait_for};

fn begin(served: &Served, page: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

#[test]
fn invalid_headers_of_a_script_are_not_passed_on() {
    let served = Served::new();
    // php-fpm checks header() calls. These are cases that it does not check.
    served.page("name.php", "<?php header('Bad Name: x'); echo 'x';");
    served.page("early.php", "<?php header('Status: 103 Early Hints'); echo 'x';");
    served.page("zero.php", "<?php header('Status: 0'); echo 'x';");
    served.page("many.php", "<?php for ($i = 0; $i < 300; $i++) header(\"X-$i: x\");");
    served.page("huge.php", "<?php header('X: ' . str_repeat('x', 200000));");
    for page in ["name", "early", "zero", "many", "huge"] {
        let answer = served.get(&format!("/{page}.php"));
        assert_eq!(answer.status, 502, "{page}: {answer:?}");
    }
    // Headers that concern the client connection are removed.
    served.page("hop.php", "<?php header('Connection: close'); header('Transfer-Encoding: chunked'); header('Keep-Alive: x'); echo 'whole';");
    let mut connection = served.connect();
    let answer = connection.get("/hop.php").unwrap();
    assert_eq!((answer.text().as_str(), answer.closes()), ("whole", false));
    assert_eq!(connection.get("/ping.php").unwrap().status, 200);
}

#[test]
fn output_of_a_script_that_exits_early_is_passed_on() {
    let served = Served::new();
    served.page("exit.php", "<?php echo 'half'; exit(3);");
    served.page("fatal.php", "<?php error_log('complaint'); nothing_of_that_name();");
    assert_eq!(served.get("/exit.php").text(), "half");
    assert_eq!(served.get("/fatal.php").status, 500);
    let mut served = served;
    let said = served.stop_gateway().stderr;
    assert!(said.contains("pool \"www\", request ") && said.contains("complaint"), "{said}");
}

/// Before any output and after some, with `Content-Length` and without.
#[test]
fn killed_child_leaves_an_incomplete_response_or_502() {
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
            // The gateway had passed on nothing yet.
            Ok(answer) => assert_eq!(answer.status, 502, "{page}"),
            Err(_) => connection.is_closed(),
        }
    }
    assert_eq!(served.get("/ping.php").status, 200);
}

/// The requests of a dead replica go to the other replica. The dead replica is used again when it listens.
#[test]
fn unreachable_replica_is_ejected_until_it_listens() {
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
fn request_waits_for_a_pool_without_replicas() {
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
fn silent_script_gets_504_after_request_timeout() {
    let served = Served::with("request_timeout = \"200ms\"", "");
    served.page("sleep.php", "<?php while (true) usleep(1000);");
    served.page("begun.php", "<?php echo 'x'; while (ob_get_level()) ob_end_flush(); flush(); while (true) usleep(1000);");
    assert_eq!(served.get("/sleep.php").status, 504);
    begin(&served, "/begun.php").answer().unwrap_err();
}

/// If php-fpm has closed the idle connection that a request reuses, the request does not fail.
#[test]
fn idle_connections_are_reused_and_their_end_costs_no_request() {
    let site = Served::site("", "");
    fix_children(&site, 3);
    // Children end after a few requests each, which closes idle connections.
    let conf = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.write(conf, &format!("{}\npm.max_requests = 5\n", site.read(conf)));
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served.page("pid.php", "<?php echo getmypid();");
    let mut connection = served.connect();
    let pids: Vec<String> = (0..200).map(|_| connection.get("/pid.php").unwrap().text()).collect();
    // Both replicas get requests in turn.
    assert!(pids.windows(3).any(|three| three[0] == three[2]), "{pids:?}");
    // Without requests, idle connections are closed.
    served.await_in_flight(0);
    served.site.run(&["status", "-q"]).succeeds();
    served.site.run(&["restart"]).succeeds();
    served.site.is_in_order_on("release1");
}

/// While more requests wait than there are children, connections pass from one request to the next. A
/// ping needs a connection of its own.
#[test]
fn ping_gets_a_child_while_requests_wait() {
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
fn term_ends_the_gateway_after_its_requests() {
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
fn request_that_exceeds_shutdown_timeout_is_cut() {
    let mut served = Served::with("", "shutdown_timeout = \"100ms\"");
    served.page("sleep.php", "<?php while (true) usleep(1000);");
    let mut held = begin(&served, "/sleep.php");
    served.await_in_flight(1);
    let ran = served.stop_gateway();
    let error = "error: 1 connections did not end within shutdown_timeout and were cut\n";
    assert!(ran.status(1).stderr.ends_with(error), "{ran}");
    held.answer().unwrap_err();
}
