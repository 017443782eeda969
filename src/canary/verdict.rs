//! The verdict on a canary: whether it fails more often, or is slower, than the old generations, and by
//! more than chance explains.
//!
//! Both questions are about a difference of two proportions. The confidence interval of the difference is
//! that of Newcombe (Statistics in Medicine 17, 1998, method 10), from the intervals of Wilson for each
//! proportion. It is sound for few requests and for proportions near 0.

use std::time::Duration;

use super::counts::as_float;
use super::{Counts, Sides};

/// A canary may always be slower by this time: caches that are still cold cost as much.
const SLACK: Duration = Duration::from_millis(20);
/// The proportion of requests that may be slower than the limit: 5 %, as the limit is for the 95th
/// percentile.
const SLOW: f64 = 0.05;

/// The limits, from `[rollout]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How many requests each side must have. With fewer requests, the figures decide nothing.
    pub min_requests: u64,
    /// How much higher the error rate may be, as a proportion.
    pub error_margin: f64,
    /// The factor by which the 95th percentile of the latencies may be higher than that of the old
    /// generations.
    pub latency_factor: f64,
}

/// When a canary is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Each second: only what is clearly bad ends a canary early.
    Meanwhile,
    /// At the end of its time.
    End,
}

impl Moment {
    /// The quantile of the normal distribution, for a confidence of 99.9% and 95%.
    fn quantile(self) -> f64 {
        match self {
            Self::Meanwhile => 3.29,
            Self::End => 1.96,
        }
    }
}

/// What the figures say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As far as the figures can tell, the canary is no worse than the limits allow.
    Good,
    /// A side has had too few requests.
    TooFew,
    /// The canary fails more often.
    MoreErrors,
    /// The canary is slower.
    Slower,
}

impl Limits {
    /// Decides.
    pub fn judge(&self, counts: &Sides<Counts>, moment: Moment) -> Verdict {
        let Sides { new, old } = counts;
        let requests = Sides { new: new.requests(), old: old.requests() };
        if requests.new.min(requests.old) < self.min_requests.max(1) {
            return Verdict::TooFew;
        }
        let z = moment.quantile();
        let errors = [(new.errors, requests.new), (old.errors, requests.old)];
        if surplus(errors, z) > self.error_margin {
            return Verdict::MoreErrors;
        }
        let usual = old.percentile(95).unwrap_or_default();
        let limit = usual.mul_f64(self.latency_factor.min(1e6)).max(usual + SLACK);
        let slow = interval(new.slower_than(limit), requests.new, z).0;
        if slow > SLOW { Verdict::Slower } else { Verdict::Good }
    }
}

/// The lower bound of the difference: by how much the first proportion is higher than the second one.
/// Each proportion is given as two numbers: events, and all.
fn surplus([new, old]: [(u64, u64); 2], z: f64) -> f64 {
    let rate = |(events, all)| as_float(events) / as_float(all);
    let (new_rate, old_rate) = (rate(new), rate(old));
    let (least, most) = (interval(new.0, new.1, z).0, interval(old.0, old.1, z).1);
    new_rate - old_rate - (new_rate - least).hypot(most - old_rate)
}

/// Wilson's interval of a proportion.
fn interval(events: u64, all: u64, z: f64) -> (f64, f64) {
    let n = as_float(all);
    let p = as_float(events) / n;
    let square = z * z;
    let middle = p + square / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + square / (4.0 * n * n)).sqrt();
    let whole = 1.0 + square / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min_requests: 30, error_margin: 0.01, latency_factor: 2.0 };

    /// `slow` of `all` requests take 300 ms, the others 20 ms.
    fn counts(all: u64, errors: u64, slow: u64) -> Counts {
        let mut counts = Counts::default();
        for at in 0..all {
            let ms = if at < slow { 300 } else { 20 };
            counts.add(Duration::from_millis(ms), at < errors);
        }
        counts
    }

    fn judged(new: (u64, u64, u64), old: (u64, u64, u64), moment: Moment) -> Verdict {
        let [new, old] = [new, old].map(|(all, errors, slow)| counts(all, errors, slow));
        LIMITS.judge(&Sides { new, old }, moment)
    }

    #[test]
    fn interval_is_that_of_wilson() {
        // Newcombe 1998, table I: 81 of 263, and 0 of 20.
        let (low, high) = interval(81, 263, 1.959_964);
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = interval(0, 20, 1.959_964);
        assert!(low < 1e-9 && (high - 0.1611).abs() < 5e-5, "{low} {high}");
        // Table II: 56 of 70 against 48 of 80.
        let least = surplus([(56, 70), (48, 80)], 1.959_964);
        assert!((least - 0.0524).abs() < 5e-5, "{least}");
    }

    #[test]
    fn errors_decide_only_if_they_are_more_than_chance() {
        let old = (450, 2, 0);
        assert_eq!(judged((50, 0, 0), old, Moment::End), Verdict::Good);
        assert_eq!(judged((50, 1, 0), old, Moment::End), Verdict::Good);
        assert_eq!(judged((50, 4, 0), old, Moment::End), Verdict::MoreErrors);
        assert_eq!(judged((50, 4, 0), old, Moment::Meanwhile), Verdict::Good);
        assert_eq!(judged((50, 15, 0), old, Moment::Meanwhile), Verdict::MoreErrors);
        // Both fail equally often.
        assert_eq!(judged((500, 150, 0), (4500, 1350, 0), Moment::End), Verdict::Good);
        // Significantly more, but within the margin.
        assert_eq!(judged((200_000, 1_400, 0), (1_800_000, 0, 0), Moment::End), Verdict::Good);
    }

    #[test]
    fn slow_requests_decide_only_if_they_are_more_than_chance() {
        let old = (450, 0, 2);
        assert_eq!(judged((50, 0, 3), old, Moment::End), Verdict::Good);
        assert_eq!(judged((50, 0, 10), old, Moment::End), Verdict::Slower);
        assert_eq!(judged((50, 0, 50), old, Moment::Meanwhile), Verdict::Slower);
        // The old generations are as slow.
        assert_eq!(judged((50, 0, 50), (450, 0, 450), Moment::End), Verdict::Good);
    }

    #[test]
    fn few_milliseconds_more_are_no_reason() {
        let all_at = |ms: u64| {
            let mut counts = Counts::default();
            (0..100).for_each(|_| counts.add(Duration::from_millis(ms), false));
            counts
        };
        let judged =
            |new, old| LIMITS.judge(&Sides { new: all_at(new), old: all_at(old) }, Moment::End);
        assert_eq!(judged(15, 1), Verdict::Good);
        assert_eq!(judged(30, 1), Verdict::Slower);
        assert_eq!(judged(180, 100), Verdict::Good);
        assert_eq!(judged(250, 100), Verdict::Slower);
    }

    #[test]
    fn too_few_requests_decide_nothing() {
        assert_eq!(judged((29, 29, 29), (450, 0, 0), Moment::End), Verdict::TooFew);
        assert_eq!(judged((450, 450, 0), (29, 0, 0), Moment::Meanwhile), Verdict::TooFew);
        let none = Limits { min_requests: 0, ..LIMITS };
        assert_eq!(none.judge(&Sides::default(), Moment::End), Verdict::TooFew);
    }
}
