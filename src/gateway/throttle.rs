//! Log lines about conditions that may hold for every request, such as a full disk: one is written
//! now and then, and it counts those that were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Decides whether an event is logged.
#[derive(Debug)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the last line was written.
    last: Option<Instant>,
    /// How many events have had no line since.
    left_out: u64,
}

impl Throttle {
    /// Nothing was logged yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State { last: None, left_out: 0 }))
    }

    /// Counts an event. Some: it is to be logged, with this number of earlier ones that were not.
    pub(super) fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
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
    fn events_in_quick_succession_share_one_line() {
        let (throttle, begin) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.pass_at(begin), Some(0));
        assert_eq!(throttle.pass_at(begin), None);
        assert_eq!(throttle.pass_at(begin + PAUSE / 2), None);
        assert_eq!(throttle.pass_at(begin + PAUSE), Some(2));
        assert_eq!(throttle.pass_at(begin + PAUSE * 3), Some(0));
    }
}
