//! Clients below the minimum rate, and clients that only seem to be.

use std::thread;
use std::time::Duration;

use harness::served::{Connection, Served};

/// The pause of a slow client between two steps.
const STEP: Duration = Duration::from_millis(20);

fn begin(mut connection: Connection, page: &str) -> Connection {
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

/// The client reads all the time, at most 200 KB per second.
#[test]
fn reader_below_the_minimum_rate_is_reset() {
    let served = Served::with("", "send_timeout = \"1s\"\nmin_rate = \"1MiB\"");
    served.page("large.php", "<?php for ($i = 0; $i < 10000; $i++) echo str_repeat('x', 1000);");
    served.page("large.txt", &"x".repeat(10_000_000));
    for page in ["/large.php", "/large.txt"] {
        let mut slow = begin(Connection::narrow(served.port()), page);
        let mut read = 0;
        while let Ok(bytes) = slow.some(4_000) {
            assert!(!bytes.is_empty(), "the answer was closed in order after {read} bytes");
            read += bytes.len();
            assert!(read < 10_000_000, "{page}");
            thread::sleep(STEP);
        }
    }
    assert_eq!(served.get("/ping.php").status, 200);
}

/// The kernel takes more only when a third of its large buffer is free, which takes longer than
/// `send_timeout`. But the client reads all the time.
#[test]
fn reader_with_a_large_kernel_buffer_is_not_reset() {
    let served = Served::with("", "send_timeout = \"2s\"\nmin_rate = \"4KiB\"");
    served.page("large.txt", &"x".repeat(30_000_000));
    let mut slow = begin(served.connect(), "/large.txt");
    let head = slow.head().unwrap();
    assert!(head.contains("content-length: 30000000"), "{head}");
    let mut read = 0;
    for _ in 0..300 {
        let bytes = slow.some(2_000).unwrap();
        assert!(!bytes.is_empty());
        read += bytes.len();
        thread::sleep(STEP);
    }
    slow.take(30_000_000 - read).unwrap();
}

#[test]
fn client_of_a_slow_script_is_not_reset() {
    let timeouts = "send_timeout = \"200ms\"\nbody_timeout = \"200ms\"\nmin_rate = \"1MiB\"";
    let served = Served::with("", timeouts);
    served.page(
        "events.php",
        "<?php while (ob_get_level()) ob_end_flush();
        for ($i = 0; $i < 10; $i++) { echo \"data: $i\\n\\n\"; flush(); usleep(100000); }",
    );
    served.page("poll.php", "<?php usleep(1000000); echo 'news';");
    let mut events = begin(served.connect(), "/events.php");
    let mut poll = begin(Connection::narrow(served.port()), "/poll.php");
    assert_eq!(poll.answer().unwrap().text(), "news");
    assert!(events.answer().unwrap().text().ends_with("data: 9\n\n"));
}

#[test]
fn sender_below_the_minimum_rate_gets_408() {
    let ask = |min_rate: &str| {
        let global = format!("body_timeout = \"500ms\"\nmin_rate = \"{min_rate}\"");
        let served = Served::with("", &global);
        served.page("count.php", "<?php echo strlen(file_get_contents('php://input'));");
        let mut slow = served.connect();
        slow.send("POST /count.php HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
        for _ in 0..100 {
            slow.send("x");
            thread::sleep(STEP);
        }
        slow.answer().unwrap()
    };
    assert_eq!(ask("1KiB").status, 408);
    assert_eq!(ask("0").text(), "100");
}
