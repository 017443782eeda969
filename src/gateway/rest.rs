//! Connections on which nothing happens: what hyper holds for one, above all a buffer of 8 KiB, is
//! given back until its client says something again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// How long nothing happens on a connection before it rests.
const PAUSE: Duration = Duration::from_millis(100);

/// What happens on a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// How many requests there have been.
    begun: AtomicU32,
    under_way: AtomicU32,
    /// Something has come since the last request began: perhaps the beginning of the next.
    heard: AtomicBool,
    /// The client does not take what it is sent.
    stalled: AtomicBool,
}

/// A request that is under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    /// A request begins; `is_whole`: nothing more of it is to come.
    pub(super) fn request(self: &Arc<Self>, is_whole: bool) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if is_whole {
            self.heard.store(false, Ordering::Relaxed);
        }
        Busy(Arc::clone(self))
    }

    /// Something has come.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The client takes what it is sent, or does not.
    pub(super) fn stall(&self, is_stalled: bool) {
        self.stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Waits until nothing has happened for a while, and nothing is about to.
    pub(super) async fn rest(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            sleep(PAUSE).await;
            let is_quiet = before == self.begun.load(Ordering::Relaxed)
                && self.under_way.load(Ordering::Relaxed) == 0;
            let is_between =
                [&self.heard, &self.stalled].iter().all(|it| !it.load(Ordering::Relaxed));
            if is_quiet && is_between {
                return;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
