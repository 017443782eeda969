//! Polling with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than any step takes, even on a busy machine: only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_millis(2);

/// Calls `look` every few milliseconds until it returns something. Panics after 60 seconds.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        thread::sleep(POLL);
    }
}
