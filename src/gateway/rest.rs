//! What happens on a connection, so that it takes little memory.
//!
//! While nothing happens, what hyper holds for it, above all a buffer of 8 KiB, is given back until
//! its client says something again. While an answer is sent, hyper gets the next part of it only
//! once it has written the one before; for a slow client, that is a small one.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::sleep;

/// How long nothing happens on a connection before it rests.
const PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer hyper gets at a time, in bytes: a little more may come, by the last piece.
/// Most answers are shorter, and go in one write.
const PART: usize = 32 * 1024;
/// The same for a slow client.
const SMALL_PART: usize = 16 * 1024;

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
        // Few answers wait.
        if self.given.swap(0, Ordering::Relaxed) >= SMALL_PART {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    fn poll_may_give(&self, cx: &mut Context<'_>) -> Poll<()> {
        let part = if self.slow.load(Ordering::Relaxed) { SMALL_PART } else { PART };
        if self.given.load(Ordering::Relaxed) < part {
            return Poll::Ready(());
        }
        // hyper relies on being woken by the body.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(cx.waker().clone());
        Poll::Pending
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
        self.0.poll_may_give(cx)
    }

    /// hyper has taken so many bytes.
    pub(super) fn gave(&self, bytes: usize) {
        self.0.given.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
