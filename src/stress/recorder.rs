//! Records the requests of a run and their results, in the order in which they happen.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::sample::{Failure, FailureKind, Sample};
use super::summary::{FailureCount, Latency, ReleaseCount, Summary};

/// The most releases in a run: a bound on memory, far above any real number.
const RELEASES_MAX: usize = 1000;

/// The longest latency that is recorded exactly, in microseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000;

/// A request that has begun and not ended.
pub(super) struct InFlight {
    sent: Instant,
    /// How many releases were known when the request began: the rank of the newest one, plus one.
    releases_seen: usize,
}

/// All results of a run.
pub(super) struct Recorder {
    opened: Instant,
    /// How many more requests may begin; None: any number.
    left: Option<u64>,
    closed: bool,
    started: u64,
    good: u64,
    failed: u64,
    went_back: u64,
    /// In the order of their first complete responses. The index is the rank.
    releases: Vec<SeenRelease>,
    failures: BTreeMap<FailureKind, (u64, String)>,
    /// Of good responses, in microseconds.
    latencies: Histogram<u64>,
}

struct SeenRelease {
    name: String,
    responses: u64,
    first: Duration,
    last: Duration,
}

impl Recorder {
    pub(super) fn new(requests: Option<NonZeroU64>) -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX, 3);
        Self {
            opened: Instant::now(),
            left: requests.map(NonZeroU64::get),
            closed: false,
            started: 0,
            good: 0,
            failed: 0,
            went_back: 0,
            releases: Vec::new(),
            failures: BTreeMap::new(),
            latencies: latencies.expect("the bounds are constants that fit each other"),
        }
    }

    /// Lets no more requests begin.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Begins a request. None: the number of requests is reached, or the recorder is closed.
    pub(super) fn begin(&mut self) -> Option<InFlight> {
        if self.closed || self.left == Some(0) {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        self.started += 1;
        Some(InFlight { sent: Instant::now(), releases_seen: self.releases.len() })
    }

    /// Records the result of a request that has just ended.
    #[expect(clippy::needless_pass_by_value, reason = "a request ends once")]
    pub(super) fn end(&mut self, request: InFlight, result: Result<String, Failure>) -> Sample {
        let latency = request.sent.elapsed();
        let rank = result.and_then(|release| Ok((self.rank(&release)?, release)));
        let (result, went_back) = match rank {
            Ok((rank, release)) => {
                self.good += 1;
                self.latencies.saturating_record(micros(latency));
                (Ok(release), rank + 1 < request.releases_seen)
            }
            Err(failure) => {
                self.failed += 1;
                let first = || (0, failure.detail.clone());
                self.failures.entry(failure.kind).or_insert_with(first).0 += 1;
                (Err(failure), false)
            }
        };
        self.went_back += u64::from(went_back);
        Sample { result, latency, went_back }
    }

    /// The rank of the release of a response that is complete now.
    fn rank(&mut self, release: &str) -> Result<usize, Failure> {
        let now = self.opened.elapsed();
        // The newest release sends most responses, so the search begins there.
        if let Some(rank) = self.releases.iter().rposition(|seen| seen.name == release) {
            self.releases[rank].responses += 1;
            self.releases[rank].last = now;
            return Ok(rank);
        }
        if self.releases.len() == RELEASES_MAX {
            let detail = format!("{release:?} comes after {RELEASES_MAX} other releases");
            return Err(Failure::new(FailureKind::Unexpected, detail));
        }
        let name = release.to_owned();
        self.releases.push(SeenRelease { name, responses: 1, first: now, last: now });
        Ok(self.releases.len() - 1)
    }

    /// The results so far, and whether the run passes.
    pub(super) fn summary(&self, monotonic: bool) -> Summary {
        let seconds = self.opened.elapsed().as_secs_f64();
        let requests = self.good + self.failed;
        Summary {
            passed: self.good > 0 && self.failed == 0 && !(monotonic && self.went_back > 0),
            seconds,
            requests,
            per_second: per_second(requests, seconds),
            good: self.good,
            failed: self.failed,
            unfinished: self.started - requests,
            failures: self.failures.iter().map(failure_count).collect(),
            latency: (self.good > 0).then(|| latency(&self.latencies)),
            releases: self.releases.iter().map(release_count).collect(),
            went_back: self.went_back,
        }
    }
}

fn failure_count((kind, (count, first)): (&FailureKind, &(u64, String))) -> FailureCount {
    FailureCount { kind: *kind, count: *count, first: first.clone() }
}

fn release_count(seen: &SeenRelease) -> ReleaseCount {
    ReleaseCount {
        name: seen.name.clone(),
        answers: seen.responses,
        first_seconds: seen.first.as_secs_f64(),
        last_seconds: seen.last.as_secs_f64(),
    }
}

fn latency(latencies: &Histogram<u64>) -> Latency {
    Latency {
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        max_us: latencies.max(),
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn per_second(requests: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { requests as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends a request; returns whether it is a step back.
    fn end(recorder: &mut Recorder, request: InFlight, release: &str) -> bool {
        recorder.end(request, Ok(release.to_owned())).went_back
    }

    /// Begins and ends a request; returns whether it is a step back.
    fn request(recorder: &mut Recorder, release: &str) -> bool {
        let request = recorder.begin().unwrap();
        end(recorder, request, release)
    }

    #[test]
    fn a_request_in_flight_during_the_switch_is_not_a_step_back() {
        let mut recorder = Recorder::new(None);
        assert!(!request(&mut recorder, "1"));
        let before = recorder.begin().unwrap();
        assert!(!request(&mut recorder, "2"));
        assert!(!end(&mut recorder, before, "1"));
        assert_eq!(recorder.summary(true).went_back, 0);
        assert!(recorder.summary(true).passed);
    }

    #[test]
    fn an_old_release_after_any_response_of_the_new_one_is_a_step_back() {
        let mut recorder = Recorder::new(None);
        request(&mut recorder, "1");
        let first_of_2 = recorder.begin().unwrap();
        let before = recorder.begin().unwrap();
        assert!(!end(&mut recorder, first_of_2, "2"));
        let after = recorder.begin().unwrap();
        assert!(!end(&mut recorder, before, "1"));
        assert!(end(&mut recorder, after, "1"));
        assert!(!request(&mut recorder, "2"));
        assert_eq!(recorder.summary(false).went_back, 1);
        assert!(recorder.summary(false).passed);
        assert!(!recorder.summary(true).passed);
    }

    #[test]
    fn a_failure_adds_no_release_and_is_not_a_step_back() {
        let mut recorder = Recorder::new(None);
        request(&mut recorder, "1");
        let in_flight = recorder.begin().unwrap();
        let failure = Failure::new(FailureKind::HttpStatus(500), "oops");
        assert!(!recorder.end(in_flight, Err(failure)).went_back);
        request(&mut recorder, "1");
        let summary = recorder.summary(false);
        assert_eq!((summary.requests, summary.good, summary.failed), (3, 2, 1));
        assert_eq!(summary.releases.len(), 1);
        assert!(!summary.passed);
    }

    #[test]
    fn each_new_release_ranks_above_all_earlier_ones() {
        let mut recorder = Recorder::new(None);
        for release in ["1", "2", "3"] {
            assert!(!request(&mut recorder, release));
        }
        assert!(request(&mut recorder, "2"));
        assert!(request(&mut recorder, "1"));
        assert!(!request(&mut recorder, "3"));
        let names: Vec<_> = recorder.summary(false).releases.into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["1", "2", "3"]);
    }

    #[test]
    fn no_request_begins_beyond_the_number_or_after_close() {
        let mut recorder = Recorder::new(NonZeroU64::new(2));
        let requests = (recorder.begin(), recorder.begin());
        assert!(requests.0.is_some() && requests.1.is_some());
        assert!(recorder.begin().is_none());
        assert_eq!(recorder.summary(false).unfinished, 2);

        let mut recorder = Recorder::new(None);
        assert!(recorder.begin().is_some());
        recorder.close();
        assert!(recorder.begin().is_none());
    }

    #[test]
    fn a_run_without_requests_does_not_pass() {
        assert!(!Recorder::new(None).summary(false).passed);
    }

    #[test]
    fn a_release_beyond_the_maximum_is_a_failure() {
        let mut recorder = Recorder::new(None);
        for release in 0..RELEASES_MAX {
            request(&mut recorder, &release.to_string());
        }
        request(&mut recorder, "one-too-many");
        let summary = recorder.summary(false);
        assert_eq!(summary.releases.len(), RELEASES_MAX);
        assert_eq!(summary.failures[0].kind, FailureKind::Unexpected);
    }
}
