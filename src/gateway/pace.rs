//! The least pace of a client: how many bytes it has to send or take in the time in which the
//! gateway waits for it. The time that a script or a disk takes does not count.

use std::time::Duration;

/// What is expected of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long it may do nothing. The rate is averaged over as long.
    pub timeout: Duration,
    /// The least bytes per second. 0: any number but none.
    pub min_rate: u64,
}

impl Pace {
    /// Whether so many bytes are enough for so long a wait.
    pub(super) fn is_kept(&self, bytes: u64, waited: Duration) -> bool {
        bytes > 0 && u128::from(bytes) * 1000 >= u128::from(self.min_rate) * waited.as_millis()
    }
}

/// What a client has sent in the time in which it was waited for.
#[derive(Debug)]
pub(super) struct Meter {
    pace: Pace,
    waited: Duration,
    bytes: u64,
}

impl Meter {
    /// Begins with nothing.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, bytes: 0 }
    }

    /// Adds what came, and how long it was waited for. False: the client is too slow.
    pub(super) fn add(&mut self, bytes: u64, waited: Duration) -> bool {
        self.bytes += bytes;
        // After the timeout nobody waits any more: then the gateway itself was halted.
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
    fn the_rate_is_averaged_over_the_timeout() {
        let mut meter = Meter::new(PACE);
        // 9 s for one byte, and then enough in the tenth second.
        assert!(meter.add(1, Duration::from_secs(9)));
        assert!(meter.add(1_000, Duration::from_secs(1)));
        // The next window starts from nothing.
        assert!(meter.add(1, Duration::from_secs(9)));
        assert!(!meter.add(1, Duration::from_secs(1)));
    }

    #[test]
    fn a_rate_of_zero_asks_for_something_only() {
        let pace = Pace { min_rate: 0, ..PACE };
        assert!(pace.is_kept(1, Duration::from_secs(1000)));
        assert!(!pace.is_kept(0, Duration::from_secs(1)));
    }

    #[test]
    fn a_wait_beyond_the_timeout_is_not_the_clients() {
        let mut meter = Meter::new(PACE);
        assert!(meter.add(1, Duration::from_secs(11)));
        assert!(!meter.add(1, Duration::from_secs(10)));
    }

    #[test]
    fn what_comes_without_a_wait_is_fast_enough() {
        let mut meter = Meter::new(PACE);
        assert!((0..10_000).all(|_| meter.add(1, Duration::ZERO)));
    }
}
