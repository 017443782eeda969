//! The moments of periodic work, the same for all pools. So a hundred pools wake the processor only
//! once, and share what is read from the system.

use std::time::{Duration, Instant};

/// Counts from one moment, the same for all pools.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm(Instant);

impl Rhythm {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time until the next end of a period: more than zero, at most one period.
    pub(super) fn until_next(self, period: Duration) -> Duration {
        let since_last = self.0.elapsed().as_secs_f64() % period.as_secs_f64();
        period.saturating_sub(Duration::from_secs_f64(since_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wait_for_the_same_moment() {
        let Some(begun) = Instant::now().checked_sub(Duration::from_secs(70)) else { return };
        let rhythm = Rhythm(begun);
        let next = [30, 7, 100].map(|period| rhythm.until_next(Duration::from_secs(period)));
        for (next, expected) in next.into_iter().zip([20, 7, 30]) {
            let late = Duration::from_secs(expected).abs_diff(next);
            assert!(late < Duration::from_secs(1), "{next:?} instead of {expected} s");
        }
    }
}
