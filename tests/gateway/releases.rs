//! Responses while the release changes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use harness::Site;
use harness::served::{Connection, Served};

/// A response: its beginning, its end, and its release.
pub(crate) struct Seen {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) release: u32,
}

/// Panics if a response has an older release than another response that had ended before the request began.
/// Returns the newest release.
pub(crate) fn release_never_goes_back(mut seen: Vec<Seen>) -> u32 {
    let mut ends: Vec<_> = seen.iter().map(|it| (it.ended, it.release)).collect();
    ends.sort();
    seen.sort_by_key(|it| it.begun);
    let (mut newest, mut ended) = (0, ends.iter().peekable());
    for it in &seen {
        while let Some((_, release)) = ended.next_if(|(at, _)| *at < it.begun) {
            newest = newest.max(*release);
        }
        assert!(it.release >= newest, "release {} after {newest}", it.release);
    }
    newest
}

/// Clients that request scripts and files in turn, on keep-alive connections, until they are stopped.
/// Every response is complete.
struct Followers {
    enough: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<Vec<Seen>>>,
}

impl Followers {
    fn start(served: &Served, clients: usize) -> Self {
        let (enough, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let port = served.port();
        let client = |_| {
            let (enough, count) = (Arc::clone(&enough), Arc::clone(&count));
            thread::spawn(move || follow(port, &enough, &count))
        };
        let threads = (0..clients).map(client).collect();
        Self { enough, count, threads }
    }

    /// Waits for this many further responses.
    fn await_answers(&self, more: u32) {
        let until = self.count.load(Ordering::Relaxed) + more;
        harness::wait_for("answers", || {
            (self.count.load(Ordering::Relaxed) >= until).then_some(())
        });
    }

    fn finish(self) -> Vec<Seen> {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn follow(port: u16, enough: &AtomicBool, count: &AtomicU32) -> Vec<Seen> {
    let mut connection = Connection::to(port);
    let mut seen = Vec::new();
    for page in ["/version.php", "/version.txt"].iter().cycle() {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let answer = connection.get(page).unwrap_or_else(|cut| panic!("{page}: {cut:?}"));
        let ended = Instant::now();
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        let text = answer.text();
        let (one, other) = text.trim().split_once(' ').unwrap();
        assert_eq!(one, other, "mixed: {text}");
        seen.push(Seen { begun, ended, release: one.parse().unwrap() });
        count.fetch_add(1, Ordering::Relaxed);
        harness::think();
    }
    seen
}

/// Writes a release whose code and files name it.
fn add_release(site: &Site, number: u32) {
    let release = format!("www/r{number}");
    site.write(&format!("{release}/version.txt"), &format!("{number} {number}\n"));
    let page = format!(
        "<?php echo '{number} ', strtok(file_get_contents(__DIR__ . '/version.txt'), ' ');"
    );
    site.write(&format!("{release}/version.php"), &page);
}

fn site_on_release_0(strategy: &str) -> Served {
    let site = Served::site("", "");
    site.add_rollout(&format!("strategy = \"{strategy}\""));
    add_release(&site, 0);
    site.switch("r0");
    site.run(&["start"]).succeeds();
    Served::serve(site)
}

/// After a client has got a response of a release, no request that begins later gets an older one, neither
/// from a script nor from a file.
#[test]
fn release_never_goes_back_through_two_swaps() {
    swaps(2);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn release_never_goes_back_through_fifty_swaps() {
    swaps(50);
}

fn swaps(count: u32) {
    let served = site_on_release_0("swap");
    let followers = Followers::start(&served, 16);
    for number in 1..=count {
        add_release(&served.site, number);
        served.site.switch(format!("r{number}"));
        served.site.run(&["restart"]).succeeds();
        followers.await_answers(32);
    }
    let seen = followers.finish();
    let releases: std::collections::BTreeSet<u32> = seen.iter().map(|it| it.release).collect();
    release_never_goes_back(seen);
    assert_eq!(releases.len(), 1 + count as usize, "{releases:?}");
}

/// During a rolling restart both releases are served, and each request gets one of them.
#[test]
fn rolling_restart_loses_and_mixes_no_response() {
    rolling_restarts(5);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn many_rolling_restarts_lose_and_mix_no_response() {
    rolling_restarts(25);
}

fn rolling_restarts(count: u32) {
    let served = site_on_release_0("rolling");
    let followers = Followers::start(&served, 8);
    for number in 1..=count {
        add_release(&served.site, number);
        served.site.switch(format!("r{number}"));
        served.site.run(&["restart"]).succeeds();
        followers.await_answers(16);
    }
    let seen = followers.finish();
    assert_eq!(seen.iter().map(|it| it.release).max(), Some(count));
}

/// Requests that begin after the switch get the new release.
#[test]
fn running_request_ends_on_its_release() {
    let served = Served::new();
    let page = include_str!("../real/pages/hold.php");
    served.page("hold.php", page);
    let mark = served.site.scratch().join("mark");
    let mut held = served.connect();
    held.send(&format!("GET /hold.php?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display()));
    harness::wait_for("the script", || fs::read(mark.with_extension("begun")).ok());
    served.site.switch("release2");
    let mut manager = served.site.spawn(&["restart", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
    assert_eq!(served.get("/release.txt").text(), "2\n");
    fs::write(mark.with_extension("end"), "").unwrap();
    let text = held.answer().unwrap().text();
    assert!(text.starts_with("begun on release 1\n") && text.ends_with("ended on release 1\n"));
    manager.finish().succeeds();
    served.site.is_in_order_on("release2");
}

/// A request that waits for a child has not begun.
#[test]
fn waiting_request_goes_to_the_new_release() {
    let served = Served::with_children(1, "", "");
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let mut held = [served.connect(), served.connect()];
    for connection in &mut held {
        let page = format!("/hold.php?mark={}", mark.display());
        connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    served.await_in_flight(2);
    let mut waits = served.connect();
    waits.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    harness::wait_for("one that waits", || (waiting(&served) == 1).then_some(()));
    served.site.switch("release2");
    let manager = served.site.spawn(&["restart"]);
    assert_eq!(waits.answer().unwrap().text(), "pong2\n");
    fs::write(mark.with_extension("end"), "").unwrap();
    for held in &mut held {
        assert!(held.answer().unwrap().text().ends_with("ended on release 1\n"));
    }
    manager.finish().succeeds();
}

/// The number of requests that wait for a child, by the control socket.
pub(crate) fn waiting(served: &Served) -> u64 {
    use std::io::{BufRead, BufReader, Write};
    let socket = served.site.path("sockets/pools-manager.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"show\":\"www\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&line).unwrap();
    shown["shown"]["waiting"].as_u64().unwrap()
}

#[test]
fn restarted_gateway_serves_what_runs() {
    let mut served = Served::with("queue_timeout = \"100ms\"", "");
    served.kill_gateway();
    // No gateway runs that could be notified.
    served.site.switch("release2");
    served.site.run(&["restart"]).succeeds();
    served.start_gateway();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
    served.site.run(&["stop", "single", "www", "1"]).succeeds();
    served.kill_gateway();
    served.start_gateway();
    assert_eq!(served.get("/release.txt").text(), "2\n");
    served.site.run(&["stop"]).succeeds();
    let answer = served.get("/release.txt");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    served.site.run(&["start"]).succeeds();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
}

/// The rollout is refused before anything is changed.
#[test]
fn release_without_the_document_root_is_refused() {
    let site = Served::site("document_root = \"public\"", "");
    site.write("www/release1/public/index.php", "<?php echo 'public';");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served.site.switch("release2");
    let ran = served.site.run(&["restart"]);
    let path = served.site.path("www/release2/public").display().to_string();
    assert!(
        ran.status(2).stderr.starts_with(&format!("error: the gateway cannot serve {path}: ")),
        "{ran}"
    );
    assert_eq!(served.get("/").text(), "public");
}
