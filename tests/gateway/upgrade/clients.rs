//! Clients that notice each refused, cut or doubled request.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::served::{Connection, Served};
use harness::wait_for;

/// Records each run, with the length of the body.
const NOTE: &str = "<?php $body = file_get_contents('php://input');
    file_put_contents($_GET['list'], strlen($body) . \"\\n\", FILE_APPEND | LOCK_EX); echo 'noted';";

/// Counts the runs of a script.
pub(crate) struct Runs(PathBuf);

impl Runs {
    pub(crate) fn of(served: &Served, name: &str) -> Self {
        // Not while other clients run the script: for a moment the file would be empty.
        if !served.site.path("www/release1/note.php").exists() {
            served.page("note.php", NOTE);
        }
        Self(served.site.scratch().join(name))
    }

    pub(crate) fn page(&self) -> String {
        format!("/note.php?list={}", self.0.display())
    }

    pub(crate) fn count(&self) -> usize {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().count()
    }
}

/// Clients that request a page and send a short form in turn, on connections that they keep as long as the
/// gateway does.
pub(crate) struct Clients {
    enough: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    runs: Runs,
    threads: Vec<JoinHandle<(Vec<Duration>, usize)>>,
}

impl Clients {
    pub(crate) fn start(served: &Served, clients: usize) -> Self {
        let (enough, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let runs = Runs::of(served, "short");
        let port = served.port();
        let client = |_| {
            let (enough, count) = (Arc::clone(&enough), Arc::clone(&count));
            let page = runs.page();
            thread::spawn(move || request(port, &page, &enough, &count))
        };
        let threads = (0..clients).map(client).collect();
        Self { enough, count, runs, threads }
    }

    /// Waits for this many further responses.
    pub(crate) fn await_more(&self, more: u32) {
        let until = self.count.load(Ordering::Relaxed) + more;
        wait_for("responses", || (self.count.load(Ordering::Relaxed) >= until).then_some(()));
    }

    /// Stops them, and returns the latencies in order.
    pub(crate) fn finish(self) -> Vec<Duration> {
        self.enough.store(true, Ordering::Relaxed);
        let ended: Vec<_> = self.threads.into_iter().map(|it| it.join().unwrap()).collect();
        let posts: usize = ended.iter().map(|(_, posts)| posts).sum();
        assert_eq!(self.runs.count(), posts);
        std::fs::remove_file(&self.runs.0).unwrap();
        let mut latencies: Vec<Duration> = ended.into_iter().flat_map(|(all, _)| all).collect();
        latencies.sort();
        latencies
    }
}

fn request(
    port: u16,
    page: &str,
    enough: &AtomicBool,
    count: &AtomicU32,
) -> (Vec<Duration>, usize) {
    let mut connection = Connection::to(port);
    let (mut latencies, mut posts) = (Vec::new(), 0);
    let form = format!("POST {page} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=b");
    while !enough.load(Ordering::Relaxed) {
        let begun = Instant::now();
        connection.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answer = connection.answer().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.closes() {
            connection = Connection::to(port);
        }
        connection.send(&form);
        answer = connection.answer().unwrap();
        assert_eq!(answer.text(), "noted");
        posts += 1;
        if answer.closes() {
            connection = Connection::to(port);
        }
        latencies.push(begun.elapsed() / 2);
        count.fetch_add(2, Ordering::Relaxed);
    }
    (latencies, posts)
}

/// Uploads and downloads, each of which lasts longer than an upgrade.
pub(crate) struct Slow {
    enough: Arc<AtomicBool>,
    runs: Runs,
    uploads: Vec<JoinHandle<usize>>,
    downloads: Vec<JoinHandle<()>>,
}

const PARTS: usize = 40;
const PART: usize = 5000;
/// The pace of the clients, not a wait for anything.
const PAUSE: Duration = Duration::from_millis(25);

impl Slow {
    pub(crate) fn start(served: &Served, downloads: usize) -> Self {
        served.site.write("www/release1/large.bin", &"x".repeat(PARTS * PART * 10));
        let enough = Arc::new(AtomicBool::new(false));
        let runs = Runs::of(served, "uploads");
        let (port, page) = (served.port(), runs.page());
        let upload = |_| {
            let (enough, page) = (Arc::clone(&enough), page.clone());
            thread::spawn(move || upload(port, &page, &enough))
        };
        let uploads = (0..2).map(upload).collect();
        let downloads = (0..downloads.min(3)).map(|_| thread::spawn(move || download(port)));
        Self { enough, runs, uploads, downloads: downloads.collect() }
    }

    pub(crate) fn finish(self) {
        self.enough.store(true, Ordering::Relaxed);
        let posts: usize = self.uploads.into_iter().map(|it| it.join().unwrap()).sum();
        self.downloads.into_iter().for_each(|it| it.join().unwrap());
        let lengths = std::fs::read_to_string(&self.runs.0).unwrap();
        assert!(lengths.lines().all(|it| it == (PARTS * PART).to_string()), "{lengths}");
        assert_eq!(self.runs.count(), posts);
    }
}

/// Uploads one after the other; returns their number.
fn upload(port: u16, page: &str, enough: &AtomicBool) -> usize {
    let mut count = 0;
    while count == 0 || !enough.load(Ordering::Relaxed) {
        let mut connection = Connection::to(port);
        let length = PARTS * PART;
        connection
            .send(&format!("POST {page} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        for _ in 0..PARTS {
            connection.send(&"x".repeat(PART));
            thread::sleep(PAUSE);
        }
        assert_eq!(connection.answer().unwrap().text(), "noted");
        count += 1;
    }
    count
}

fn download(port: u16) {
    let mut connection = Connection::narrow(port);
    connection.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = connection.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for _ in 0..PARTS {
        assert_eq!(connection.take(PART * 10).unwrap().len(), PART * 10);
        thread::sleep(PAUSE);
    }
}
