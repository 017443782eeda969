//! Clients that keep their connections, and clients that send forms of 1 MB.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use harness::Site;
use harness::served::Connection;

const MEGABYTE: usize = 1 << 20;

/// Threads that repeat something until they are told to stop.
struct Workers {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn begin(count: u64, work: impl Fn(&AtomicBool) + Clone + Send + 'static) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let (work, enough) = (work.clone(), Arc::clone(&enough));
            thread::spawn(move || work(&enough))
        });
        let threads = threads.collect();
        Self { enough, threads }
    }

    fn finish(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Clients that send their next request on the same connection, until the server says that it closes
/// it.
pub(super) struct Kept(Workers, Arc<AtomicU64>);

impl Kept {
    pub(super) fn begin(site: &Site, clients: u64) -> Self {
        Self::begin_at(site, clients, "/ping.php", "pong")
    }

    /// The clients request another page, whose body begins like this.
    pub(super) fn begin_at(
        site: &Site,
        clients: u64,
        page: &'static str,
        body: &'static str,
    ) -> Self {
        let (port, reused) = (site.port(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&reused);
        let keep = move |enough: &AtomicBool| keep_asking(port, (page, body), enough, &counter);
        Self(Workers::begin(clients, keep), reused)
    }

    /// Waits for the last answers. Some requests must have reused a connection.
    pub(super) fn finish(self) {
        self.0.finish();
        assert!(self.1.load(Ordering::Relaxed) > 20);
    }
}

fn keep_asking(port: u16, (page, body): (&str, &str), enough: &AtomicBool, reused: &AtomicU64) {
    while !enough.load(Ordering::Relaxed) {
        let mut connection = Connection::to(port);
        loop {
            let answer = connection.get(page).unwrap();
            assert!(answer.status == 200 && answer.text().starts_with(body), "{}", answer.text());
            let closes = answer.header("connection").is_some_and(|it| it.contains("close"));
            if closes || enough.load(Ordering::Relaxed) {
                break;
            }
            reused.fetch_add(1, Ordering::Relaxed);
            harness::think();
        }
    }
}

/// Clients that send forms of 1 MB, each on a new connection.
pub(super) struct Uploads {
    visitors: harness::Visitors,
    list: PathBuf,
}

impl Uploads {
    pub(super) fn begin(site: &Site, clients: u64) -> Self {
        site.add_page("upload.php", include_str!("../pages/upload.php"));
        let list = site.scratch().join("uploads");
        let page = format!("/upload.php?list={}", list.display());
        let visitors = site.visitors(clients, move |client, number| {
            let answer = client.post(&page, &format!("{number} {}", body(number)));
            assert_eq!((answer.status, answer.body), (200, format!("noted {number}\n")));
        });
        Self { visitors, list }
    }

    /// Waits for the last answers. Each form must have reached PHP once, and whole.
    pub(super) fn each_ran_once(self) {
        let sent = self.visitors.finish();
        let mut times = BTreeMap::<u64, u64>::new();
        for line in std::fs::read_to_string(self.list).unwrap().lines() {
            let (number, rest) = line.split_once(' ').unwrap();
            assert!(rest.starts_with(&format!("{MEGABYTE} ")), "{line}");
            *times.entry(number.parse().unwrap()).or_default() += 1;
        }
        assert!(sent > 5, "{sent}");
        assert_eq!(times.len() as u64, sent);
        times.retain(|_, times| *times != 1);
        assert_eq!(times, BTreeMap::new(), "these ran more than once");
    }
}

fn body(number: u64) -> String {
    let word = format!("{number:07} ");
    word.repeat(MEGABYTE / word.len())
}
