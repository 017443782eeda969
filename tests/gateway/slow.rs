//! Clients that are slow, that go away, and that are many: none of them holds a child.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::releases::waiting;
use crate::served::Served;
use harness::wait_for;

const FIVE_MB: &str = "<?php for ($i = 0; $i < 5000; $i++) echo str_repeat('x', 1000);";

/// php-fpm is done with a page of 5 MB when its client has read no more than the beginning.
#[test]
fn a_slow_reader_does_not_hold_a_child() {
    let served = Served::with_children(1, "", "");
    served.page("large.php", FIVE_MB);
    // As many as there are children; then there are none for others, if they are held.
    let mut slow = [served.connect(), served.connect()];
    for connection in &mut slow {
        connection.send("GET /large.php HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.take(1000).unwrap();
    }
    served.await_in_flight(0);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    for connection in &mut slow {
        // What comes later is all there.
        let rest = connection.take(5_000_000).unwrap();
        assert!(rest.ends_with(b"x"));
    }
}

/// A body that does not come to its end is waited for without a child.
#[test]
fn a_slow_sender_does_not_hold_a_child() {
    let served = Served::with_children(1, "", "");
    served.page("echo.php", "<?php echo file_get_contents('php://input');");
    let mut slow: Vec<_> = (0..4).map(|_| served.connect()).collect();
    for connection in &mut slow {
        connection.send("POST /echo.php HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    }
    for _ in 0..10 {
        assert_eq!(served.get("/ping.php").text(), "pong1\n");
    }
    for connection in &mut slow {
        connection.send("llo");
        assert_eq!(connection.answer().unwrap().text(), "hello");
    }
}

#[test]
fn a_client_that_goes_away_frees_its_child_and_its_place_in_the_queue() {
    let served = Served::with_children(1, "", "");
    served.page(
        "endless.php",
        "<?php set_time_limit(0); while (true) { echo str_repeat('x', 100000); flush(); }",
    );
    let mut endless: Vec<_> = (0..2).map(|_| served.connect()).collect();
    for connection in &mut endless {
        connection.send("GET /endless.php HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.take(1000).unwrap();
    }
    let mut waits = served.connect();
    waits.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("one that waits", || (waiting(&served) == 1).then_some(()));
    drop(waits);
    wait_for("nobody that waits", || (waiting(&served) == 0).then_some(()));
    drop(endless);
    served.await_in_flight(0);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn a_full_queue_and_a_wait_that_is_too_long_are_told() {
    let served = Served::with_children(1, "queue = 1\nqueue_timeout = \"100ms\"", "");
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let page = format!("/hold.php?mark={}", mark.display());
    let mut held: Vec<_> = (0..2).map(|_| served.connect()).collect();
    for connection in &mut held {
        connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    served.await_in_flight(2);
    let mut both = [served.connect(), served.connect()];
    for connection in &mut both {
        connection.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for connection in &mut both {
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    fs::write(mark.with_extension("end"), "").unwrap();
    for connection in &mut held {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    let ran = served_log(served);
    assert!(
        ran.contains("the queue is full") && ran.contains("no child was free in time"),
        "{ran}"
    );
}

fn served_log(mut served: Served) -> String {
    served.stop_gateway().stderr
}

/// Each part of a request has its deadline.
#[test]
fn who_does_not_go_on_is_not_waited_for() {
    let served = Served::with("", "header_timeout = \"200ms\"\nbody_timeout = \"200ms\"");
    served.page("echo.php", "<?php echo file_get_contents('php://input');");
    // Nothing at all, and a head that does not end.
    served.connect().is_closed();
    let mut head = served.connect();
    head.send("GET /ping.php HTTP/1.1\r\nHost: a\r\nX: ");
    let _ = head.answer(); // perhaps told why
    head.is_closed();
    let mut body = served.connect();
    body.send("POST /echo.php HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(body.answer().unwrap().status, 408);
    body.is_closed();
    let mut chunks = served.connect();
    chunks.send("POST /echo.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    assert_eq!(chunks.answer().unwrap().status, 408);
    // After an answer, too.
    let mut idle = served.connect();
    assert_eq!(idle.get("/ping.php").unwrap().status, 200);
    idle.is_closed();
}

#[test]
fn who_takes_nothing_of_his_answer_is_not_waited_for() {
    let served = Served::with("", "send_timeout = \"200ms\"");
    served.page("large.php", FIVE_MB);
    served.site.add_page("large.txt", &"x".repeat(20_000_000));
    for page in ["/large.php", "/large.txt"] {
        let mut slow = served.connect();
        slow.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
        // Without reading: until the gateway has given it up.
        wait_for("the end of the connection", || {
            let ours = format!(":{:04X} ", slow.port());
            let table = fs::read_to_string("/proc/net/tcp").unwrap();
            let gateways = |line: &&str| {
                let mut fields = line.split_ascii_whitespace();
                let local = fields.nth(1).unwrap_or_default();
                let remote = fields.next().unwrap_or_default();
                let state = fields.next().unwrap_or_default();
                local.ends_with(&format!(":{:04X}", served.port()))
                    && format!("{remote} ").ends_with(&ours)
                    && state == "01"
            };
            (table.lines().filter(gateways).count() == 0).then_some(())
        });
    }
    assert_eq!(served.get("/ping.php").status, 200);
}

/// A gigabyte to a client that reads slowly, and then fast: memory stays flat.
#[test]
fn an_endless_answer_takes_no_memory() {
    let served = Served::with_children(2, "", "max_temp = \"64MiB\"");
    served.page(
        "gigabyte.php",
        "<?php set_time_limit(0); for ($i = 0; $i < 10000; $i++) echo str_repeat('x', 100000);",
    );
    served.get("/ping.php");
    let before = served.memory();
    let mut slow = served.connect();
    slow.send("GET /gigabyte.php HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.head().unwrap();
    let mut left = 1_000_000_000_usize;
    let mut largest = 0;
    // In chunks of its own, as the gateway sends them.
    while left > 0 {
        let size = slow.chunk().unwrap();
        left -= size;
        largest = largest.max(served.memory());
        if size == 0 {
            break;
        }
    }
    assert_eq!(left, 0);
    assert!(largest < before + (32 << 20), "{before} to {largest}");
}

/// A gigabyte from a client: it passes through a file, and PHP gets it all.
#[test]
fn a_large_upload_takes_no_memory() {
    let served = Served::with("", "max_body = \"2GiB\"");
    served.page(
        "count.php",
        "<?php $n = 0; $in = fopen('php://input', 'r'); while (!feof($in)) $n += strlen(fread($in, 1 << 20)); echo $n;",
    );
    served.get("/ping.php");
    let before = served.memory();
    let (size, chunk) = (1_000_000_000_usize, vec![b'x'; 1_000_000]);
    let mut upload = served.connect();
    let head = format!("PUT /count.php HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    upload.send(&head);
    let mut largest = 0;
    for _ in 0..size / chunk.len() {
        upload.send_bytes(&chunk);
        largest = largest.max(served.memory());
    }
    assert_eq!(upload.answer().unwrap().text(), size.to_string());
    assert!(largest.max(served.memory()) < before + (32 << 20), "{before} to {largest}");
}

/// Connections that wait for nothing are cheap, and in nobody's way.
#[test]
fn ten_thousand_idle_connections() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX).saturating_sub(1000);
    let count = usize::try_from(most.min(10_000)).unwrap();
    let served = Served::with("", "header_timeout = \"10m\"");
    let idle: Vec<_> = (0..count)
        .map(|_| {
            let mut connection = served.connect();
            assert_eq!(connection.get("/release.txt").unwrap().text(), "1\n");
            connection
        })
        .collect();
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    let memory = served.memory();
    assert!(memory <= 100 << 20, "{} KiB for {count} connections", memory >> 10);
    // Each of them still serves.
    for mut connection in idle.into_iter().step_by(1000) {
        assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
        connection.send("GET /release.txt HTTP/1.1\r\nHo");
        connection.send("st: a\r\n\r\n");
        assert_eq!(connection.answer().unwrap().text(), "1\n");
    }
}
