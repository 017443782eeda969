//! Requests at fixed times, whatever becomes of those before (an open loop). A request's latency
//! counts from when it was to be sent: a stall of the site, or of this program, is in the figures
//! of all who would have come meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const PER_SECOND: u32 = 500;
/// Enough to be never all under way, unless the site stands still for a quarter of a second.
const SENDERS: usize = 128;

/// One request: the time from the beginning of the load until it was due, and its latency.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    // A benchmark without rollouts has no use for the time.
    #[allow(dead_code, reason = "not every benchmark needs it")]
    pub(crate) due: Duration,
    pub(crate) latency: Duration,
}

/// Sends requests from `started` on, and passes each on to `note`. It ends before the first one
/// whose time is one that `is_over` accepts.
pub(crate) fn put_on<T>(
    started: Instant,
    is_over: impl Fn(Duration) -> bool + Sync,
    ask: impl Fn() -> T + Sync,
    note: impl Fn(Sample, T) + Sync,
) {
    let every = Duration::from_secs(1) / PER_SECOND;
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let due = every * next.fetch_add(1, Ordering::Relaxed);
                    if is_over(due) {
                        return;
                    }
                    thread::sleep((started + due).saturating_duration_since(Instant::now()));
                    let answer = ask();
                    note(Sample { due, latency: (started + due).elapsed() }, answer);
                }
            });
        }
    });
}
