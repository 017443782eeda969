//! A canary by share: `--canary 10% --for 60s`.

mod bad;
mod good;
mod refused;
mod survives;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::served::{Answer, Connection, Served};
use harness::{Program, Site};

/// Long enough that a test has to end it.
pub(crate) const LONG: &str = "10m";
/// The settings of the pool.
const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A gateway on release 1. Both releases have a page and a file that name the release. The page of
/// release 2 begins with this PHP.
pub(crate) fn served(release2: &str) -> Served {
    let served = Served::site("", "");
    write(&served, release2);
    served.run(&["start"]).succeeds();
    Served::serve(served)
}

/// Writes the page and the file of both releases.
pub(crate) fn write(site: &Site, release2: &str) {
    for (release, begin) in [("1", ""), ("2", release2)] {
        let at = |file: &str| format!("www/release{release}/{file}");
        site.write(&at("which.txt"), release);
        site.write(&at("which.php"), &format!("<?php {begin} echo '{release}';"));
    }
}

/// A switch to release 2 that has begun to watch its canary.
pub(crate) fn watching(site: &Site, share: &str, time: &str) -> Program {
    let args = ["switch", "www", "release2", "--canary", share, "--for", time, "--json"];
    let mut manager = site.spawn(&args);
    manager.await_event("that it watches", |event| event["event"] == "watching");
    manager
}

/// A client that keeps the cookie of the canary.
pub(crate) struct Visitor {
    connection: Connection,
    cookie: Option<String>,
}

impl Visitor {
    fn new(port: u16) -> Self {
        Self { connection: Connection::to(port), cookie: None }
    }

    /// The same visitor, on another connection.
    pub(crate) fn again(&self, port: u16) -> Self {
        Self { connection: Connection::to(port), cookie: self.cookie.clone() }
    }

    pub(crate) fn get(&mut self, page: &str) -> Answer {
        let cookie = self.cookie.iter().map(|it| format!("Cookie: a=b; {it}; c=d\r\n"));
        let cookie = cookie.collect::<String>();
        self.connection.send(&format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n"));
        let answer = self.connection.answer().unwrap_or_else(|cut| panic!("{page}: {cut:?}"));
        if let Some(set) = answer.header("set-cookie") {
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
        }
        answer
    }

    fn look(&mut self) -> Seen {
        let side = self.cookie.as_ref().and_then(|it| it.rsplit_once('.'));
        Seen { side: side.map(|(_, side)| side.to_owned()), release: self.release() }
    }

    /// The release of the page; a number, or the status of an error.
    pub(crate) fn release(&mut self) -> String {
        let answer = self.get("/which.php");
        if answer.status == 200 { answer.text() } else { answer.status.to_string() }
    }
}

/// The release that a client without a cookie gets.
fn drawn(served: &Served) -> String {
    Visitor::new(served.port()).release()
}

/// A visitor of the canary, and one of the old release.
pub(crate) fn one_of_each(port: u16) -> (Visitor, Visitor) {
    let mut found = (None, None);
    for _ in 0..2000 {
        let mut visitor = Visitor::new(port);
        match visitor.release().as_str() {
            "2" => found.0 = Some(visitor),
            _ => found.1 = Some(visitor),
        }
        if let (Some(_), Some(_)) = found {
            break;
        }
    }
    (found.0.expect("a visitor of the canary"), found.1.expect("a visitor of the old release"))
}

/// Visitors who come, look at some pages, and go, until they are stopped.
struct Visitors {
    enough: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<Vec<Seen>>>>,
}

/// A response: the side in the cookie of its request, and the release, or the status of an error.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    side: Option<String>,
    release: String,
}

impl Visitors {
    fn start(served: &Served, clients: usize) -> Self {
        let (enough, port) = (Arc::new(AtomicBool::new(false)), served.port());
        let client = |_| {
            let enough = Arc::clone(&enough);
            thread::spawn(move || {
                let mut seen = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let mut visitor = Visitor::new(port);
                    seen.push((0..5).map(|_| visitor.look()).collect());
                    harness::think();
                }
                seen
            })
        };
        let threads = (0..clients).map(client).collect();
        Self { enough, threads }
    }

    /// What each visitor has seen.
    fn finish(self) -> Vec<Vec<Seen>> {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}
