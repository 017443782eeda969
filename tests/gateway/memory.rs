//! The memory of the gateway for slow clients.

use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use harness::served::{Connection, Served};
use harness::wait_for;

const CLIENTS: usize = 1500;
/// What the gateway itself takes at most, in bytes.
const ITSELF: u64 = 56 << 20;
/// The same for each client.
const EACH: u64 = 64 << 10;
/// The same for request bodies: up to 16 MiB of them stay in memory.
const MOST_WITH_BODIES: u64 = 200 << 20;

/// Connections that read the beginning of a response, and no more.
fn readers(served: &Served, page: &str, count: usize) -> Vec<Connection> {
    let port = served.port();
    let begin = move |page: &str| {
        let mut connection = Connection::narrow(port);
        connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
        connection.take(1).unwrap();
        connection
    };
    thread::scope(|scope| {
        let some = || (0..count / 4).map(|_| begin(page)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    })
}

fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// The allocator does not return freed memory at once, so the memory is measured when all responses have
/// begun.
fn are_cheap(served: &Served, page: &str, count: usize) {
    let readers = readers(served, page, count);
    served.await_in_flight(0);
    let memory = served.memory();
    let most = ITSELF + EACH * count as u64;
    assert!(memory < most, "{} KiB for {count} readers of {page}", memory >> 10);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    drop(readers);
}

#[test]
fn slow_readers_of_a_script_take_little_memory() {
    readers_of_a_script_are_cheap(120);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn many_slow_readers_of_a_script_take_little_memory() {
    readers_of_a_script_are_cheap(CLIENTS);
}

fn readers_of_a_script_are_cheap(count: usize) {
    raise_limit();
    let global = "max_temp = \"20GiB\"\nmax_temp_per_pool = \"20GiB\"\nmax_temp_per_client = \"20GiB\"\nsend_timeout = \"10m\"";
    let served = Served::with_children(4, "queue = 2000\nqueue_timeout = \"60s\"", global);
    // Everything after the first 300 KB is in a file.
    served.page("large.php", "<?php echo str_repeat('x', 1000000);");
    are_cheap(&served, "/large.php", count);
    // Shorter responses, which fit into memory.
    served.page("page.php", "<?php echo str_repeat('x', 200000);");
    are_cheap(&served, "/page.php", count);
}

#[test]
fn slow_readers_of_a_file_take_little_memory() {
    raise_limit();
    let served = Served::with("", "send_timeout = \"10m\"");
    served.page("large.bin", &"x".repeat(10_000_000));
    are_cheap(&served, "/large.bin", CLIENTS);
}

/// Bodies below and above the size that stays in memory.
#[test]
fn slow_senders_take_little_memory() {
    raise_limit();
    let served = Served::with("", "body_timeout = \"10m\"");
    let senders: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut connection = Connection::narrow(served.port());
            let length = if number % 2 == 0 { 60_000 } else { 1_000_000 };
            connection.send(&format!(
                "POST /ping.php HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            ));
            connection.send_bytes(&vec![b'x'; 59_000]);
            connection
        })
        .collect();
    // Half of the bodies are in files.
    let written = (CLIENTS as u64 / 2) * (32 << 10);
    wait_for("the bodies in files", || (served.in_temporary_files() >= written).then_some(()));
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    let memory = served.memory();
    assert!(memory < MOST_WITH_BODIES, "{} KiB", memory >> 10);
    drop(senders);
}

/// A held request takes only the memory of its connection, its head and its place in the queue.
#[test]
fn held_requests_take_little_memory() {
    held_requests_are_cheap(2_000, 20 << 20);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn ten_thousand_held_requests_take_little_memory() {
    held_requests_are_cheap(10_000, 100 << 20);
}

fn held_requests_are_cheap(count: u64, bytes: u64) {
    raise_limit();
    let served = Served::with(&format!("hold_queue = {count}"), "");
    served.get("/ping.php");
    let before = served.memory();
    served.site.run(&["hold", "www", "--for", "10m"]).succeeds();
    let headers =
        format!("Cookie: session={}\r\nUser-Agent: {}\r\n", "x".repeat(200), "y".repeat(100));
    let port = served.port();
    let mut held: Vec<_> = (0..count)
        .map(|_| {
            let mut connection = Connection::to(port);
            connection.send(&format!("GET /ping.php HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
            connection
        })
        .collect();
    super::hold::await_held(&served, count);
    let memory = served.memory() - before;
    println!("{} KiB for {count} held requests", memory >> 10);
    assert!(memory < bytes, "{} KiB", memory >> 10);
    // The next request does not wait.
    assert_eq!(served.get("/ping.php").status, 503);
    served.site.run(&["resume", "www"]).succeeds();
    for connection in &mut held {
        assert_eq!(connection.answer().unwrap().text(), "pong1\n");
    }
}
