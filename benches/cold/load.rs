//! The visitors of the front page, and what they get.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use harness::Client;

use crate::open_loop;

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
    open_loop::put_on(
        Instant::now(),
        |due| due >= lasts,
        || ask(client, good),
        |sample, result| answers.lock().unwrap().note(sample.latency, result),
    );
}

fn ask(client: Client, good: &[String]) -> Result<(), String> {
    let answer = client.ask("GET", "/index.php", "", "").map_err(|error| error.to_string())?;
    match answer.status {
        200 if good.contains(&answer.body) => Ok(()),
        status => Err(format!("{status}: {}", answer.body)),
    }
}
