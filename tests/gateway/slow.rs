//! Slow clients, clients that go away, and many clients: none of them holds a child.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::releases::waiting;
use harness::served::Served;
use harness::wait_for;

const FIVE_MB: &str = "<?php for ($i = 0; $i < 5000; $i++) echo str_repeat('x', 1000);";

/// php-fpm finishes a page of 5 MB while its client has read only the beginning.
#[test]
fn slow_reader_holds_no_child() {
    let served = Served::with_children(1, "", "");
    served.page("large.php", FIVE_MB);
    // As many clients as children: if they held children, no other request would get one.
    let mut slow = [served.connect(), served.connect()];
    for connection in &mut slow {
        connection.send("GET /large.php HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.take(1000).unwrap();
    }
    served.await_in_flight(0);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    for connection in &mut slow {
        // The rest of the response arrives complete.
        let rest = connection.take(5_000_000).unwrap();
        assert!(rest.ends_with(b"x"));
    }
}

/// An incomplete body holds no child.
#[test]
fn slow_sender_holds_no_child() {
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
fn client_that_goes_away_frees_its_child_and_its_place_in_the_queue() {
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
fn full_queue_and_queue_timeout_get_503() {
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
        ran.contains("the queue is full") && ran.contains("no child was free within queue_timeout"),
        "{ran}"
    );
}

fn served_log(mut served: Served) -> String {
    served.stop_gateway().stderr
}

#[test]
fn incomplete_request_is_ended_by_its_timeout() {
    let served = Served::with("", "header_timeout = \"200ms\"\nbody_timeout = \"200ms\"");
    served.page("echo.php", "<?php echo file_get_contents('php://input');");
    // A connection without a request, and an incomplete head.
    served.connect().is_closed();
    let mut head = served.connect();
    head.send("GET /ping.php HTTP/1.1\r\nHost: a\r\nX: ");
    let _ = head.answer(); // perhaps 408
    head.is_closed();
    let mut body = served.connect();
    body.send("POST /echo.php HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(body.answer().unwrap().status, 408);
    body.is_closed();
    let mut chunks = served.connect();
    chunks.send("POST /echo.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    assert_eq!(chunks.answer().unwrap().status, 408);
    // Also after a response.
    let mut idle = served.connect();
    assert_eq!(idle.get("/ping.php").unwrap().status, 200);
    idle.is_closed();
}

#[test]
fn client_that_reads_nothing_is_reset() {
    let served = Served::with("", "send_timeout = \"200ms\"");
    served.page("large.php", FIVE_MB);
    served.site.add_page("large.txt", &"x".repeat(20_000_000));
    for page in ["/large.php", "/large.txt"] {
        let mut slow = served.connect();
        slow.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
        // The client does not read, until the gateway resets the connection.
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

#[test]
fn large_response_takes_no_memory() {
    respond(100);
}

#[test]
#[ignore = "a transfer of 1 GB: bin/test --all"]
fn response_of_1_gb_takes_no_memory() {
    respond(1000);
}

/// Sends this many MB to a client that reads slowly, and then fast.
fn respond(megabytes: usize) {
    let served = Served::with_children(2, "", "max_temp = \"64MiB\"");
    let page = format!(
        "<?php set_time_limit(0); for ($i = 0; $i < {megabytes}; $i++) echo str_repeat('x', 1000000);"
    );
    served.page("large.php", &page);
    served.get("/ping.php");
    let before = served.memory();
    let mut slow = served.connect();
    slow.send("GET /large.php HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.head().unwrap();
    let mut left = megabytes * 1_000_000;
    let mut largest = 0;
    // The chunks of the transfer coding.
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

#[test]
fn large_upload_takes_no_memory() {
    upload(100);
}

#[test]
#[ignore = "a transfer of 1 GB: bin/test --all"]
fn upload_of_1_gb_takes_no_memory() {
    upload(1000);
}

/// Sends this many MB from a client: they are stored in a file, and PHP gets all of them.
fn upload(megabytes: usize) {
    let served = Served::with("", "max_body = \"2GiB\"");
    served.page(
        "count.php",
        "<?php $n = 0; $in = fopen('php://input', 'r'); while (!feof($in)) $n += strlen(fread($in, 1 << 20)); echo $n;",
    );
    served.get("/ping.php");
    let before = served.memory();
    let (size, chunk) = (megabytes * 1_000_000, vec![b'x'; 1_000_000]);
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

#[test]
fn idle_connections_take_little_memory() {
    idle_connections_are_cheap(2_000, 60 << 20);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn ten_thousand_idle_connections_take_little_memory() {
    idle_connections_are_cheap(10_000, 100 << 20);
}

/// Idle connections take this many bytes with the gateway itself, and delay no request.
fn idle_connections_are_cheap(count: usize, bytes: u64) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX).saturating_sub(1000);
    let count = usize::try_from(most).unwrap().min(count);
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
    assert!(memory <= bytes, "{} KiB for {count} connections", memory >> 10);
    // Each connection still works.
    for mut connection in idle.into_iter().step_by(count / 10) {
        assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
        connection.send("GET /release.txt HTTP/1.1\r\nHo");
        connection.send("st: a\r\n\r\n");
        assert_eq!(connection.answer().unwrap().text(), "1\n");
    }
}
