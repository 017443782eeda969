//! Requests at fixed times, whatever becomes of those before (an open loop). A request's latency
//! counts from when it was to be sent: a stall of the site, or of this program, is in the figures
//! of all who would have come meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use harness::Client;

const PER_SECOND: u32 = 500;
/// Enough to be never all under way, unless the site stands still for a quarter of a second.
const SENDERS: usize = 128;

/// What came back.
pub(crate) struct Answers {
    /// Of all answers, good or bad, in microseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) failed: u64,
    /// What the first failure was.
    pub(crate) first_failure: Option<String>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        Self { latency, failed: 0, first_failure: None }
    }

    fn note(&mut self, latency: Duration, result: Result<(), String>) {
        self.latency.record(u64::try_from(latency.as_micros()).unwrap()).unwrap();
        if let Err(failure) = result {
            self.failed += 1;
            self.first_failure.get_or_insert(failure);
        }
    }
}

/// Asks for the front page for so long; good are the answers that are one of `good`.
pub(crate) fn put_on(client: Client, lasts: Duration, good: &[String], answers: &Mutex<Answers>) {
    let started = Instant::now();
    let every = Duration::from_secs(1) / PER_SECOND;
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let due = every * next.fetch_add(1, Ordering::Relaxed);
                    if due >= lasts {
                        return;
                    }
                    thread::sleep((started + due).saturating_duration_since(Instant::now()));
                    let result = ask(client, good);
                    answers.lock().unwrap().note((started + due).elapsed(), result);
                }
            });
        }
    });
}

fn ask(client: Client, good: &[String]) -> Result<(), String> {
    let answer = client.ask("GET", "/index.php", "", "").map_err(|error| error.to_string())?;
    match answer.status {
        200 if good.contains(&answer.body) => Ok(()),
        status => Err(format!("{status}: {}", answer.body)),
    }
}
