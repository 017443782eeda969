//! What happens on a connection. This bounds the memory that hyper holds for it.
//!
//! - While a connection is idle, hyper's state, mainly a buffer of 8 KiB, is dropped until the client
//!   sends again.
//! - While a response is sent, hyper gets the next part of it when it has written the previous one.
//!   The part is small for a slow client, and while all connections together hold much that is not
//!   written yet.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::gateway::log_throttle::LogThrottle;

/// A connection on which nothing has happened for this long is idle.
const IDLE_AFTER: Duration = Duration::from_millis(100);

/// How much of a response hyper gets at a time, in bytes. The last chunk may exceed it a little. Most
/// responses are smaller, and take one write.
const PART: usize = 97 * 1024;
/// How much of a response hyper gets at a time for a slow client, in bytes.
const SMALL_PART: usize = 32 * 1024;
/// How much all connections together may hold beyond their small parts, in bytes.
const EXTRA_MAX: usize = 16 << 20;

/// What the connections of one gateway share.
#[derive(Debug)]
pub(in crate::gateway) struct SharedLimits {
    /// How much the connections hold beyond their small parts, in bytes.
    extra: AtomicUsize,
    /// For log lines about clients that were too slow.
    pub(super) slow_clients: LogThrottle,
    /// For log lines about floods by HTTP/2.
    pub(super) floods: LogThrottle,
    /// One permit for each further request of an HTTP/2 connection that has a request already.
    pub(super) further_requests: Arc<Semaphore>,
}

/// What happens on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    limits: Arc<SharedLimits>,
    /// The number of requests so far.
    begun: AtomicU32,
    in_progress: AtomicU32,
    /// Data has arrived since the last request began: perhaps the start of the next request.
    has_data: AtomicBool,
    /// The client does not read what is sent.
    is_stalled: AtomicBool,
    /// The gateway has had to wait for the client.
    is_slow: AtomicBool,
    /// How many bytes hyper got since it last had nothing to write.
    given: AtomicUsize,
    /// The bodies that wait until hyper has nothing to write: with HTTP/2 there can be several.
    waiting: Mutex<Vec<Waker>>,
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl SharedLimits {
    /// The limits of a gateway with this `max_connections`.
    pub(in crate::gateway) fn new(max_connections: usize) -> Arc<Self> {
        let permits = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            extra: AtomicUsize::new(0),
            slow_clients: LogThrottle::default(),
            floods: LogThrottle::default(),
            further_requests: Arc::new(Semaphore::new(permits)),
        })
    }
}

impl Activity {
    /// A connection without a request.
    pub(super) fn new(limits: &Arc<SharedLimits>) -> Arc<Self> {
        Arc::new(Self {
            limits: Arc::clone(limits),
            begun: AtomicU32::new(0),
            in_progress: AtomicU32::new(0),
            has_data: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
            given: AtomicUsize::new(0),
            waiting: Mutex::default(),
        })
    }

    /// A request begins. `is_complete`: it has no body.
    pub(super) fn begin_request(self: &Arc<Self>, is_complete: bool) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        if is_complete {
            self.has_data.store(false, Ordering::Relaxed);
        }
        Busy(Arc::clone(self))
    }

    /// Data has arrived.
    pub(super) fn data_arrived(&self) {
        self.has_data.store(true, Ordering::Relaxed);
    }

    /// Sets whether the client takes what is sent.
    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// The client counts as slow from now on.
    pub(super) fn set_slow(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    /// Everything that hyper had is written.
    pub(super) fn written(&self) {
        let given = self.given.swap(0, Ordering::Relaxed);
        // Most responses are smaller, and never wait.
        if given >= SMALL_PART {
            self.limits.extra.fetch_sub(given - SMALL_PART, Ordering::Relaxed);
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = std::mem::take(&mut *waiting);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    fn may_give(&self) -> bool {
        let given = self.given.load(Ordering::Relaxed);
        given < SMALL_PART
            || given < PART
                && !self.is_slow.load(Ordering::Relaxed)
                && self.limits.extra.load(Ordering::Relaxed) < EXTRA_MAX
    }

    /// Waits until the connection is idle.
    pub(super) async fn idle(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            sleep(IDLE_AFTER).await;
            let is_quiet = before == self.begun.load(Ordering::Relaxed)
                && self.in_progress.load(Ordering::Relaxed) == 0;
            let is_between =
                [&self.has_data, &self.is_stalled].iter().all(|it| !it.load(Ordering::Relaxed));
            if is_quiet && is_between {
                return;
            }
        }
    }
}

impl Busy {
    /// Waits until hyper can take more of the response.
    pub(super) fn poll_may_give(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.may_give() {
            return Poll::Ready(());
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Counts bytes that hyper got.
    pub(super) fn gave(&self, bytes: usize) {
        let before = self.0.given.fetch_add(bytes, Ordering::Relaxed);
        let extra = (before + bytes).saturating_sub(before.max(SMALL_PART));
        if extra > 0 {
            self.0.limits.extra.fetch_add(extra, Ordering::Relaxed);
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
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}
