//! The minimum pace of a client: how many bytes it must send or read in the time in which the gateway
//! waits for it. The time that a script or a disk takes does not count.

use std::time::Duration;

/// The minimum pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The longest pause. The rate is averaged over this time.
    pub timeout: Duration,
    /// The minimum rate in bytes per second. 0: one byte is enough.
    pub min_rate: u64,
}

impl Pace {
    /// Whether `bytes` are enough for a wait of this duration.
    pub(super) fn is_kept(&self, bytes: u64, waited: Duration) -> bool {
        bytes > 0 && u128::from(bytes) * 1000 >= u128::from(self.min_rate) * waited.as_millis()
    }
}

/// Measures how fast a client sends.
#[derive(Debug)]
pub(super) struct Meter {
    pace: Pace,
    waited: Duration,
    bytes: u64,
}

impl Meter {
    /// Starts a measurement.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, bytes: 0 }
    }

    /// Adds bytes that arrived, and how long the gateway waited for them. False: the client is too slow.
    pub(super) fn add(&mut self, bytes: u64, waited: Duration) -> bool {
        self.bytes += bytes;
        // No wait exceeds the timeout, unless the gateway's own process was stopped.
        if waited <= self.pace.timeout {
            self.waited += waited;
        }
        if self.waited < self.pace.timeout {
            return true;
        }
        let is_kept = self.pace.is_kept(self.bytes, self.waited);
        (self.bytes, self.waited) = (0, Duration::ZERO);
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { timeout: Duration::from_secs(10), min_rate: 100 };

    #[test]
    fn rate_is_averaged_over_the_timeout() {
        let mut meter = Meter::new(PACE);
        // 9 s for one byte, and then enough in the tenth second.
        assert!(meter.add(1, Duration::from_secs(9)));
        assert!(meter.add(1_000, Duration::from_secs(1)));
        // The next period starts at zero.
        assert!(meter.add(1, Duration::from_secs(9)));
        assert!(!meter.add(1, Duration::from_secs(1)));
    }

    #[test]
    fn rate_of_zero_needs_one_byte() {
        let pace = Pace { min_rate: 0, ..PACE };
        assert!(pace.is_kept(1, Duration::from_secs(1000)));
        assert!(!pace.is_kept(0, Duration::from_secs(1)));
    }

    #[test]
    fn wait_beyond_the_timeout_does_not_count() {
        let mut meter = Meter::new(PACE);
        assert!(meter.add(1, Duration::from_secs(11)));
        assert!(!meter.add(1, Duration::from_secs(10)));
    }

    #[test]
    fn data_without_a_wait_is_fast_enough() {
        let mut meter = Meter::new(PACE);
        assert!((0..10_000).all(|_| meter.add(1, Duration::ZERO)));
    }
}
