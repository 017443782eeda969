//! The book of a run: what was asked, what came back, and in which order.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::answer::{Answer, Failure, FailureKind};
use super::summary::{FailureCount, Latency, ReleaseCount, Summary};

/// How many releases a run tells apart: more than anybody deploys, and a bound on memory.
const MOST_RELEASES: usize = 1000;

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_LATENCY: u64 = 3_600_000_000;

/// What a client holds while its request is under way.
pub(super) struct Ticket {
    sent: Instant,
    /// How many releases had answered when the request started: the newest one's rank, plus one.
    releases_seen: usize,
}

pub(super) struct Book {
    opened: Instant,
    /// How many more requests may start.
    left: Option<u64>,
    closed: bool,
    started: u64,
    good: u64,
    failed: u64,
    went_back: u64,
    /// In the order in which they were first seen complete, which is their rank.
    releases: Vec<Seen>,
    failures: BTreeMap<FailureKind, (u64, String)>,
    /// Of good answers, in microseconds.
    latencies: Histogram<u64>,
}

struct Seen {
    name: String,
    answers: u64,
    first: Duration,
    last: Duration,
}

impl Book {
    pub(super) fn new(requests: Option<NonZeroU64>) -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST_LATENCY, 3);
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

    /// Lets no more requests start.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// A ticket for a request that starts now, unless none may start any more.
    pub(super) fn begin(&mut self) -> Option<Ticket> {
        if self.closed || self.left == Some(0) {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        self.started += 1;
        Some(Ticket { sent: Instant::now(), releases_seen: self.releases.len() })
    }

    /// Writes down how the request of `ticket` ended, now.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good for one answer")]
    pub(super) fn end(&mut self, ticket: Ticket, result: Result<String, Failure>) -> Answer {
        let latency = ticket.sent.elapsed();
        let rank = result.and_then(|release| Ok((self.rank(&release)?, release)));
        let (result, went_back) = match rank {
            Ok((rank, release)) => {
                self.good += 1;
                self.latencies.saturating_record(micros(latency));
                (Ok(release), rank + 1 < ticket.releases_seen)
            }
            Err(failure) => {
                self.failed += 1;
                let first = || (0, failure.detail.clone());
                self.failures.entry(failure.kind).or_insert_with(first).0 += 1;
                (Err(failure), false)
            }
        };
        self.went_back += u64::from(went_back);
        Answer { result, latency, went_back }
    }

    /// The rank of a release that has just answered.
    fn rank(&mut self, release: &str) -> Result<usize, Failure> {
        let now = self.opened.elapsed();
        // From the newest on, as it is the one that answers most of the time.
        if let Some(rank) = self.releases.iter().rposition(|seen| seen.name == release) {
            self.releases[rank].answers += 1;
            self.releases[rank].last = now;
            return Ok(rank);
        }
        if self.releases.len() == MOST_RELEASES {
            let detail = format!("{release:?} comes after {MOST_RELEASES} other releases");
            return Err(Failure::new(FailureKind::Unexpected, detail));
        }
        let name = release.to_owned();
        self.releases.push(Seen { name, answers: 1, first: now, last: now });
        Ok(self.releases.len() - 1)
    }

    /// What is in the book so far, and whether it passes.
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

fn release_count(seen: &Seen) -> ReleaseCount {
    ReleaseCount {
        name: seen.name.clone(),
        answers: seen.answers,
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
    u64::try_from(latency.as_micros()).unwrap_or(LONGEST_LATENCY)
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn per_second(requests: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { requests as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(book: &mut Book, ticket: Ticket, release: &str) -> bool {
        book.end(ticket, Ok(release.to_owned())).went_back
    }

    fn ask(book: &mut Book, release: &str) -> bool {
        let ticket = book.begin().unwrap();
        answer(book, ticket, release)
    }

    #[test]
    fn a_request_that_was_under_way_during_the_switch_is_no_step_back() {
        let mut book = Book::new(None);
        assert!(!ask(&mut book, "1"));
        let before = book.begin().unwrap();
        assert!(!ask(&mut book, "2"));
        assert!(!answer(&mut book, before, "1"));
        assert_eq!(book.summary(true).went_back, 0);
        assert!(book.summary(true).passed);
    }

    #[test]
    fn a_request_that_started_after_the_new_release_answered_anybody_is_a_step_back() {
        let mut book = Book::new(None);
        ask(&mut book, "1");
        let first_of_2 = book.begin().unwrap();
        let before = book.begin().unwrap();
        assert!(!answer(&mut book, first_of_2, "2"));
        let after = book.begin().unwrap();
        assert!(!answer(&mut book, before, "1"));
        assert!(answer(&mut book, after, "1"));
        assert!(!ask(&mut book, "2"));
        assert_eq!(book.summary(false).went_back, 1);
        assert!(book.summary(false).passed);
        assert!(!book.summary(true).passed);
    }

    #[test]
    fn a_failure_has_no_release_so_it_neither_ranks_nor_steps_back() {
        let mut book = Book::new(None);
        ask(&mut book, "1");
        let ticket = book.begin().unwrap();
        let failure = Failure::new(FailureKind::HttpStatus(500), "oops");
        assert!(!book.end(ticket, Err(failure)).went_back);
        ask(&mut book, "1");
        let summary = book.summary(false);
        assert_eq!((summary.requests, summary.good, summary.failed), (3, 2, 1));
        assert_eq!(summary.releases.len(), 1);
        assert!(!summary.passed);
    }

    #[test]
    fn each_later_release_ranks_above_all_before() {
        let mut book = Book::new(None);
        for release in ["1", "2", "3"] {
            assert!(!ask(&mut book, release));
        }
        assert!(ask(&mut book, "2"));
        assert!(ask(&mut book, "1"));
        assert!(!ask(&mut book, "3"));
        let names: Vec<_> = book.summary(false).releases.into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["1", "2", "3"]);
    }

    #[test]
    fn no_more_tickets_than_requests_and_none_once_closed() {
        let mut book = Book::new(NonZeroU64::new(2));
        let tickets = (book.begin(), book.begin());
        assert!(tickets.0.is_some() && tickets.1.is_some());
        assert!(book.begin().is_none());
        assert_eq!(book.summary(false).unfinished, 2);

        let mut book = Book::new(None);
        assert!(book.begin().is_some());
        book.close();
        assert!(book.begin().is_none());
    }

    #[test]
    fn nothing_asked_is_not_a_pass() {
        assert!(!Book::new(None).summary(false).passed);
    }

    #[test]
    fn releases_beyond_the_bound_are_failures() {
        let mut book = Book::new(None);
        for release in 0..MOST_RELEASES {
            ask(&mut book, &release.to_string());
        }
        ask(&mut book, "one-too-many");
        let summary = book.summary(false);
        assert_eq!(summary.releases.len(), MOST_RELEASES);
        assert_eq!(summary.failures[0].kind, FailureKind::Unexpected);
    }
}
