//! The visitors: fast requests at fixed times, and clients with slow ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::Client;

use crate::open_loop::{self, Sample};

/// Each sends its next request after the response.
pub(crate) const SLOW_CLIENTS: usize = 4;
/// How long their script runs.
pub(crate) const SLOW_SECONDS: u64 = 2;

/// What the fast requests took, and what failed of all.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<String>,
}

impl Measured {
    pub(crate) fn add(&mut self, other: &Self) {
        self.samples.extend(&other.samples);
        self.failures.extend(other.failures.iter().cloned());
    }

    /// Adds the requests that were under way during one of these times, and all failures.
    pub(crate) fn add_within(&mut self, other: Self, times: &[(Duration, Duration)]) {
        let is_within = |it: &Sample| {
            times.iter().any(|(began, ended)| it.due < *ended && it.due + it.latency > *began)
        };
        self.samples.extend(other.samples.into_iter().filter(is_within));
        self.failures.extend(other.failures);
    }

    fn note(&mut self, sample: Sample, result: Result<(), String>) {
        self.samples.push(sample);
        self.failures.extend(result.err());
    }
}

/// Sends fast requests until the time is over.
pub(crate) fn put_on(
    client: Client,
    is_over: impl Fn(Duration) -> bool + Sync,
    measured: &mut Measured,
) {
    put_on_from(Instant::now(), client, is_over, measured);
}

/// Sends fast requests until `work` has come to its end. It gets the time at which they begin.
pub(crate) fn put_on_while<T>(
    client: Client,
    measured: &mut Measured,
    work: impl FnOnce(Instant) -> T,
) -> T {
    /// Ends the load also when `work` panics.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (started, enough) = (Instant::now(), &AtomicBool::new(false));
    thread::scope(|scope| {
        let is_over = move |_| enough.load(Ordering::Relaxed);
        scope.spawn(move || put_on_from(started, client, is_over, measured));
        let _end = End(enough);
        work(started)
    })
}

fn put_on_from(
    started: Instant,
    client: Client,
    is_over: impl Fn(Duration) -> bool + Sync,
    measured: &mut Measured,
) {
    let measured = Mutex::new(measured);
    let fast = || ask(client, "/ping.php", |body| body == "pong1\n" || body == "pong2\n");
    open_loop::put_on(started, is_over, fast, |sample, result| {
        measured.lock().unwrap().note(sample, result);
    });
}

/// Clients with slow requests.
pub(crate) struct Slow {
    enough: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Slow {
    /// Their requests do not all begin at the same time.
    pub(crate) fn begin(client: Client) -> Self {
        let (enough, failures) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let apart = Duration::from_secs(SLOW_SECONDS) / u32::try_from(SLOW_CLIENTS).unwrap();
        let one = |_| {
            let (enough, failures) = (Arc::clone(&enough), Arc::clone(&failures));
            thread::sleep(apart);
            thread::spawn(move || {
                let page = format!("/sleep-long.php?seconds={SLOW_SECONDS}");
                while !enough.load(Ordering::Relaxed) {
                    let result = ask(client, &page, |body| body.contains(": Success."));
                    failures.lock().unwrap().extend(result.err());
                }
            })
        };
        let clients = (0..SLOW_CLIENTS).map(one).collect();
        Self { enough, failures, clients }
    }

    /// The failures since the last call.
    pub(crate) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.failures.lock().unwrap())
    }

    /// Waits for the last responses; the failures since the last call.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.enough.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        self.failures()
    }
}

fn ask(client: Client, page: &str, is_good: impl Fn(&str) -> bool) -> Result<(), String> {
    let answer = client.ask("GET", page, "", "").map_err(|error| format!("GET {page}: {error}"))?;
    match answer.status {
        200 if is_good(&answer.body) => Ok(()),
        status => Err(format!("GET {page}: {status}: {}", answer.body)),
    }
}
