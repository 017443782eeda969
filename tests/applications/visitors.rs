//! Clients that request pages all the time. A failed request fails the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::DEADLINE;
use harness::served::{Answer, Connection};

const VISITORS: usize = 4;

pub(crate) struct Visitors {
    threads: Vec<JoinHandle<Vec<String>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    served: AtomicUsize,
}

impl Visitors {
    /// Starts the clients. Each client requests these pages in turn, on one connection.
    pub(crate) fn start(port: u16, pages: &[String]) -> Self {
        let shared = Arc::new(Shared::default());
        let visitor = |number: usize| {
            let (shared, pages) = (Arc::clone(&shared), pages.to_vec());
            thread::spawn(move || {
                let mut connection = Connection::to(port);
                let mut releases = Vec::new();
                let pages = pages.iter().cycle().skip(number);
                for page in pages.take_while(|_| !shared.is_over.load(Ordering::Relaxed)) {
                    connection
                        .send(&format!("GET {page} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
                    let answer =
                        connection.answer().unwrap_or_else(|cut| panic!("{page}: {cut:?}"));
                    let is_expected = answer.status == if page == "/?p=1" { 301 } else { 200 };
                    assert!(is_expected, "{page}: {}\n{}", answer.status, answer.text());
                    releases.extend(release(page, &answer));
                    shared.served.fetch_add(1, Ordering::Relaxed);
                }
                releases.dedup();
                releases
            })
        };
        let threads = (0..VISITORS).map(visitor).collect();
        Self { threads, shared }
    }

    /// How many good responses there were.
    pub(crate) fn served(&self) -> usize {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Waits until there were `count` good responses.
    pub(crate) fn await_requests(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.served() < count {
            assert!(Instant::now() < deadline, "{} of {count} requests", self.served());
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client has failed");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Ends the clients. Panics if a request has failed, or if a client has seen other releases than
    /// `deployed`, or has seen them in another order.
    pub(crate) fn end(self, deployed: &[&str]) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for visitor in self.threads {
            let releases = visitor.join().expect("a request has failed");
            assert_eq!(releases, deployed);
        }
    }
}

/// The release of a response, if the response names it.
fn release(page: &str, answer: &Answer) -> Option<String> {
    let is_file = page == "/release.txt";
    let told = answer.header("x-release").map(str::to_owned);
    told.or_else(|| is_file.then(|| answer.text().trim().to_owned()))
}
