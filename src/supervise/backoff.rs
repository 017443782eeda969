//! How long the supervisor waits before it tries again.

use std::time::{Duration, Instant};

/// The delay that is doubled, and the longest delay, after the end of a replica that had come up.
const RESPAWN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The same two delays after a replica has not come up.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long a pool has to be well until its past is forgotten.
const CALM: Duration = Duration::from_secs(60);

/// The past of one pool.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// How many attempts there were since the pool was last calm.
    attempts: u32,
    /// How many of the last ones have failed in a row.
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// How long to wait from `now` before the next attempt.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let (first, most, count) = match self.failures {
            0 => (RESPAWN.0, RESPAWN.1, self.attempts),
            failures => (FAILED.0, FAILED.1, failures),
        };
        // The first repair is at once.
        if self.failures == 0 && self.attempts < 2 {
            return Duration::ZERO;
        }
        let doubled = first.saturating_mul(1 << (count - 1).min(16));
        doubled.min(most).saturating_sub(now - last)
    }

    /// Notes an attempt. Returns how many there were since the pool was last calm.
    pub(super) fn attempt(&mut self, now: Instant, has_failed: bool) -> u32 {
        if self.last.is_some_and(|last| now - last > CALM) {
            *self = Self::default();
        }
        self.attempts += 1;
        self.failures = if has_failed { self.failures + 1 } else { 0 };
        self.last = Some(now);
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respawns_slow_down_to_one_a_second() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let delays = (0..8).map(|_| {
            let delay = backoff.delay(now).as_millis();
            backoff.attempt(now, false);
            delay
        });
        assert_eq!(delays.collect::<Vec<_>>(), [0, 0, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn failures_slow_down_to_one_a_minute() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let delays = (0..9).map(|_| {
            let delay = backoff.delay(now).as_secs();
            backoff.attempt(now, true);
            delay
        });
        assert_eq!(delays.collect::<Vec<_>>(), [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_calm_minute_is_a_new_beginning() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.attempt(now, false);
        }
        assert_eq!(backoff.attempt(now + 2 * CALM, false), 1);
        assert_eq!(backoff.delay(now + 2 * CALM), Duration::ZERO);
    }
}
