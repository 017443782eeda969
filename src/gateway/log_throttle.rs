//! Limits log lines about conditions that may hold for every request, such as a full disk. A line
//! includes the number of lines that were left out before it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Decides whether an event is logged.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the last line was written.
    last: Option<Instant>,
    /// The number of events without a line since then.
    left_out: u64,
}

impl LogThrottle {
    /// Counts an event. Some: the event is to be logged, with this number of events before it that were
    /// left out.
    pub(super) fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_within_the_interval_share_one_line() {
        let (throttle, begin) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.pass_at(begin), Some(0));
        assert_eq!(throttle.pass_at(begin), None);
        assert_eq!(throttle.pass_at(begin + INTERVAL / 2), None);
        assert_eq!(throttle.pass_at(begin + INTERVAL), Some(2));
        assert_eq!(throttle.pass_at(begin + INTERVAL * 3), Some(0));
    }
}
