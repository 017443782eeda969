//! What the gateway counts for each side of a canary.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many leading bits of a latency are kept. So the stored latency is at most a 32nd too low.
const BITS: u32 = 6;

/// The requests of one side that have reached a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many had a status from 500 on, or no valid response.
    pub errors: u64,
    /// For each time until the head of the response, in microseconds: the number of requests. The times
    /// are rounded, so that there are less than a thousand different ones.
    latencies: BTreeMap<u64, u64>,
}

impl Counts {
    /// Adds a request. `latency`: until the head of its response, or until now if it has none yet.
    pub fn add(&mut self, latency: Duration, is_error: bool) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS);
        *self.latencies.entry(micros >> shift << shift).or_default() += 1;
        self.errors += u64::from(is_error);
    }

    /// Adds the requests that another process has counted.
    pub fn merge(&mut self, other: &Self) {
        self.errors = self.errors.saturating_add(other.errors);
        for (micros, count) in &other.latencies {
            let here = self.latencies.entry(*micros).or_default();
            *here = here.saturating_add(*count);
        }
    }

    /// The number of requests.
    pub fn requests(&self) -> u64 {
        self.latencies.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many requests took longer than this.
    pub fn slower_than(&self, latency: Duration) -> u64 {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let slower = self.latencies.range(micros.saturating_add(1)..);
        slower.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The time that `percent` percent of the requests did not exceed; None: there were no requests.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (u128::from(self.requests()) * u128::from(percent)).div_ceil(100);
        let mut passed = 0;
        self.latencies.iter().find_map(|(micros, count)| {
            passed += u128::from(*count);
            (passed >= rank).then_some(Duration::from_micros(*micros))
        })
    }

    /// The figures for people and programs.
    pub fn figures(&self) -> Figures {
        let ms = |percent| {
            let micros = self.percentile(percent)?.as_micros();
            u32::try_from(micros).ok().map(|micros| f64::from(micros) / 1000.0)
        };
        Figures { requests: self.requests(), errors: self.errors, p50_ms: ms(50), p95_ms: ms(95) }
    }
}

/// The figures of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The requests that have reached a server.
    pub requests: u64,
    /// How many of them had a status from 500 on, or no valid response.
    pub errors: u64,
    /// The median of the times until the head of the response, in milliseconds; None: no request, or more
    /// than an hour.
    pub p50_ms: Option<f64>,
    /// The time that 95 of 100 requests did not exceed.
    pub p95_ms: Option<f64>,
}

impl Figures {
    /// The errors in percent of the requests.
    pub fn error_percent(&self) -> f64 {
        let [errors, requests] = [self.errors, self.requests].map(as_float);
        if requests > 0.0 { 100.0 * errors / requests } else { 0.0 }
    }
}

/// Exact up to four billions, which is enough for a share.
pub(super) fn as_float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// `212 requests, 0.5% errors, p95 31 ms`
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, .. } = self;
        let s = if *requests == 1 { "" } else { "s" };
        write!(f, "{requests} request{s}")?;
        if *requests > 0 {
            write!(f, ", {:.1}% errors", self.error_percent())?;
        }
        match self.p95_ms {
            Some(ms) if ms < 10.0 => write!(f, ", p95 {ms:.1} ms"),
            Some(ms) => write!(f, ", p95 {ms:.0} ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn percentiles_are_at_most_a_32nd_too_low() {
        let mut counts = Counts::default();
        assert_eq!((counts.percentile(95), counts.requests()), (None, 0));
        (1..=1000).for_each(|it| counts.add(ms(it), false));
        for (percent, exact) in [(1, 10), (50, 500), (95, 950), (100, 1000)] {
            let found = counts.percentile(percent).unwrap();
            assert!(found <= ms(exact) && found >= ms(exact) * 31 / 32, "{percent}: {found:?}");
        }
        let slower = counts.slower_than(ms(940));
        assert!((40..=60).contains(&slower), "{slower}");
        counts.add(Duration::MAX, true);
        counts.add(Duration::ZERO, true);
        assert_eq!((counts.requests(), counts.errors), (1002, 2));
        assert!(counts.latencies.len() < 200);
    }

    #[test]
    fn merged_counts_are_those_of_all_requests_also_over_the_wire() {
        let (mut one, mut other, mut all) =
            (Counts::default(), Counts::default(), Counts::default());
        for it in 0..100 {
            let half = if it % 2 == 0 { &mut one } else { &mut other };
            half.add(ms(it), it % 5 == 0);
            all.add(ms(it), it % 5 == 0);
        }
        let text = serde_json::to_string(&other).unwrap();
        one.merge(&serde_json::from_str(&text).unwrap());
        assert_eq!(one, all);
    }

    #[test]
    fn figures_are_one_line() {
        let mut counts = Counts::default();
        assert_eq!(counts.figures().to_string(), "0 requests");
        counts.add(Duration::from_micros(4096), false);
        assert_eq!(counts.figures().to_string(), "1 request, 0.0% errors, p95 4.1 ms");
        counts.add(Duration::from_micros(65_536), true);
        assert_eq!(counts.figures().to_string(), "2 requests, 50.0% errors, p95 66 ms");
    }
}
