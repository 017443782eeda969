//! Polling with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than any step takes, even on a busy machine: only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_millis(2);
const LONGEST_POLL: Duration = Duration::from_millis(20);

/// The pause of a client before its next request. Without it, the client takes all of a processor
/// from the tests beside it.
pub fn think() {
    thread::sleep(Duration::from_millis(3));
}

/// Calls `look` until it returns something. Panics after 60 seconds.
///
/// The pauses grow with the time that has passed, since `look` may read all of `/proc`.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let passed = begun.elapsed();
        assert!(passed < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep((passed / 10).clamp(POLL, LONGEST_POLL));
    }
}
