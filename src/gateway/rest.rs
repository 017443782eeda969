//! What happens on a connection, so that it takes little memory.
//!
//! While nothing happens, what hyper holds for it, above all a buffer of 8 KiB, is given back until
//! its client says something again. While an answer is sent, hyper gets the next part of it only
//! once it has written the one before. That is a small one for a slow client, and where all
//! connections together have much that is not written.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::sleep;

/// How long nothing happens on a connection before it rests.
const PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer hyper gets at a time, in bytes: a little more may come, by the last piece.
/// Most answers are shorter, and go in one write.
const PART: usize = 97 * 1024;
/// The same for a slow client.
const SMALL_PART: usize = 32 * 1024;
/// How much all connections together may have beyond their small parts, in bytes.
const BEYOND: usize = 16 << 20;

/// How much they have.
static HELD_BEYOND: AtomicUsize = AtomicUsize::new(0);

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
    /// It has let itself be waited for.
    slow: AtomicBool,
    /// What hyper got since it had nothing to write, in bytes.
    given: AtomicUsize,
    /// The body that has to wait until hyper has nothing to write.
    waiting: Mutex<Option<Waker>>,
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

    /// The client is slow, from now on.
    pub(super) fn slow_down(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Everything that hyper had was written.
    pub(super) fn written(&self) {
        let given = self.given.swap(0, Ordering::Relaxed);
        // Few answers are longer, and wait.
        if given >= SMALL_PART {
            HELD_BEYOND.fetch_sub(given - SMALL_PART, Ordering::Relaxed);
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    fn may_give(&self) -> bool {
        let given = self.given.load(Ordering::Relaxed);
        given < SMALL_PART
            || given < PART
                && !self.slow.load(Ordering::Relaxed)
                && HELD_BEYOND.load(Ordering::Relaxed) < BEYOND
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

impl Busy {
    /// Waits until hyper can take more of the answer.
    pub(super) fn poll_may_give(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.may_give() {
            return Poll::Ready(());
        }
        // hyper relies on being woken by the body.
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// hyper has taken so many bytes.
    pub(super) fn gave(&self, bytes: usize) {
        let before = self.0.given.fetch_add(bytes, Ordering::Relaxed);
        let beyond = (before + bytes).saturating_sub(before.max(SMALL_PART));
        if beyond > 0 {
            HELD_BEYOND.fetch_add(beyond, Ordering::Relaxed);
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.written();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
