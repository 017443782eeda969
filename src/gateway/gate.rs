//! The gate of a pool: where requests wait while the operator holds the pool, and where they get 503 while
//! the pool is under maintenance.
//!
//! When a hold ends, the requests go on in the order in which they came. Requests that come meanwhile wait
//! behind them. A request goes on when the request before it has its place in the queue of the pool. At most
//! as many requests are under way as the pool has children, and [`SPARE`] more. So no request meets a full
//! queue because many were held. Most requests meet an open gate: the check costs one atomic load.
//!
//! A request that waits takes little memory: its body is not read, and the work on it has not begun.

mod keeper;
mod pass;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::upstream::Upstream;
use crate::error::Result;
use crate::traffic::{Hold, Traffic};
pub(super) use keeper::keep;
pub(super) use pass::Pass;
use refused::Closed;
pub(super) use refused::Refused;

/// For this long after the end of a hold, its requests go on in their order. The requests that are left then
/// go on all at once, with the usual limits of the queue of the pool.
const ORDER_TIME: Duration = Duration::from_secs(60);
/// How many more requests than children are under way, so that no child waits for a request.
const SPARE: usize = 2;
/// The most requests that are under way, where the number of children is large or not known.
const UNDER_WAY_MAX: usize = 256;

/// The gate of a pool.
#[derive(Debug)]
pub(super) struct Gate {
    pool: String,
    upstream: Arc<Upstream>,
    /// All requests pass, and the other fields are not read.
    is_open: AtomicBool,
    inner: Mutex<Inner>,
    /// Allows one read of the file with hold and maintenance at a time: what is applied last must also have
    /// been read last.
    turn: Mutex<()>,
    /// Notified when the hold begins, ends or changes.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The most requests that wait.
    max: usize,
    /// The end of the hold; None: there is none.
    held_until: Option<Instant>,
    /// The gateway ends before the hold would. Requests that still wait at that time are refused.
    is_cut_short: bool,
    /// The hold was cut short, and has ended. New requests are refused.
    is_over: bool,
    /// Until when the requests go on in their order; None: there was no hold.
    ordered_until: Option<Instant>,
    maintenance: Option<Arc<Closed>>,
    /// The requests that wait, by their tickets. Later ones have larger tickets.
    waiting: BTreeMap<u64, oneshot::Sender<Pass>>,
    next_ticket: u64,
    /// How many requests were let through after they had waited, and have no response yet.
    under_way: usize,
    /// The request that was let through last has not got its place in the queue of the pool yet.
    is_turn_taken: bool,
    /// How many requests were refused since the hold began, because `max` requests waited.
    refused: u64,
}

impl Inner {
    fn must_wait(&self) -> bool {
        let is_held = self.held_until.is_some() || self.is_over;
        is_held || self.is_turn_taken || !self.waiting.is_empty()
    }
}

impl Gate {
    /// An open gate, where at most `max` requests wait.
    pub(super) fn new(pool: &str, upstream: &Arc<Upstream>, max: usize) -> Arc<Self> {
        Arc::new(Self {
            pool: pool.to_owned(),
            upstream: Arc::clone(upstream),
            is_open: AtomicBool::new(true),
            inner: Mutex::new(Inner { max, ..Inner::default() }),
            turn: Mutex::default(),
            changed: Arc::default(),
        })
    }

    /// Sets the most requests that wait. Those that wait already stay.
    pub(super) fn configure(&self, max: usize) {
        self.lock().max = max;
    }

    /// Reads the file with hold and maintenance, and applies both. They apply to every request that begins
    /// after the return. After an error, hold and maintenance stay as they are. Blocks.
    pub(super) fn read(self: &Arc<Self>, file: &Path) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.apply(&Traffic::read(file)?);
        Ok(())
    }

    fn apply(self: &Arc<Self>, traffic: &Traffic) {
        let left = traffic.hold.as_ref().and_then(Hold::left);
        let mut inner = self.lock();
        let before = inner.maintenance.as_ref().map(|closed| &closed.maintenance);
        if before != traffic.maintenance.as_ref() {
            inner.maintenance = traffic.maintenance.clone().map(Closed::new);
            if inner.maintenance.is_some() {
                tracing::info!(pool = %self.pool, "the maintenance begins");
            } else {
                tracing::info!(pool = %self.pool, "the maintenance has ended");
            }
        }
        let held_until = left.map(|left| Instant::now() + left);
        match (inner.held_until.is_some(), held_until) {
            (false, Some(_)) => {
                inner.refused = 0;
                tracing::info!(pool = %self.pool, "requests are held");
                inner.held_until = held_until;
            }
            (true, Some(_)) if inner.is_cut_short => {
                inner.held_until = inner.held_until.min(held_until);
            }
            (true, Some(_)) => inner.held_until = held_until,
            (true, None) => self.end_hold(&mut inner),
            (false, None) => {}
        }
        self.update(&inner);
        drop(inner);
        self.changed.notify_one();
        self.advance();
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether all requests pass.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// The wait of a request that must wait; None: it passes, or is refused.
    pub(super) fn must_wait(self: &Arc<Self>, client: IpAddr) -> Option<Wait> {
        let inner = self.lock();
        let is_full = inner.waiting.len() >= inner.max;
        drop(inner);
        // A refused request is counted once: by `enter`.
        if is_full { None } else { self.begin_wait(client).ok().flatten() }
    }

    /// Lets a request pass the gate, now or after a wait. Error: the request is refused. `pass`: the pass of a
    /// request that has waited before.
    pub(super) async fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        pass: Option<Pass>,
    ) -> std::result::Result<Pass, Refused> {
        if pass.is_none() && self.is_open() {
            return Ok(Pass::free());
        }
        let pass = match pass {
            Some(pass) => pass,
            None => match self.begin_wait(client)? {
                Some(wait) => wait.ended().await.ok_or(Refused::Ending)?,
                None => return Ok(Pass::free()),
            },
        };
        // The maintenance may have begun meanwhile.
        let closed = self.lock().maintenance.clone();
        match closed.filter(|it| !it.maintenance.allows(client)) {
            Some(closed) => Err(Refused::Maintenance(closed)),
            None => Ok(pass),
        }
    }

    /// None: the request need not wait.
    fn begin_wait(self: &Arc<Self>, client: IpAddr) -> std::result::Result<Option<Wait>, Refused> {
        let mut inner = self.lock();
        if let Some(closed) = inner.maintenance.as_ref().filter(|it| !it.maintenance.allows(client))
        {
            return Err(Refused::Maintenance(Arc::clone(closed)));
        }
        if inner.is_over {
            return Err(Refused::Ending);
        }
        if !inner.must_wait() {
            return Ok(None);
        }
        if inner.waiting.len() >= inner.max {
            inner.refused += 1;
            let left = inner.held_until.map(|until| until.duration_since(Instant::now()));
            return Err(Refused::Full(left.unwrap_or_default()));
        }
        let (sender, pass) = oneshot::channel();
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        inner.waiting.insert(ticket, sender);
        Ok(Some(Wait { gate: Arc::clone(self), ticket, pass }))
    }

    /// The time of the next event; None: nothing is to come.
    fn next_event(&self) -> Option<Instant> {
        let inner = self.lock();
        inner.held_until.or(inner.ordered_until.filter(|_| !inner.waiting.is_empty()))
    }

    /// Whether requests are held.
    fn is_held(&self) -> bool {
        self.lock().held_until.is_some()
    }

    /// Does what is due: ends a hold whose time is over, or, after [`ORDER_TIME`], lets its requests go on
    /// without order.
    fn tick(self: &Arc<Self>) {
        let mut inner = self.lock();
        if inner.held_until.is_some_and(|until| until <= Instant::now()) {
            self.end_hold(&mut inner);
        }
        self.update(&inner);
        drop(inner);
        self.advance();
    }

    /// Prepares for the end of the gateway, which comes within this time and cuts the connections that are
    /// left. A hold that would last longer ends shortly before, and its requests are refused.
    pub(super) fn end_within(self: &Arc<Self>, time: Duration) {
        let end = Instant::now() + time * 9 / 10;
        let mut inner = self.lock();
        if inner.held_until.is_some_and(|until| until > end) {
            inner.held_until = Some(end);
            inner.is_cut_short = true;
        }
        drop(inner);
        self.changed.notify_one();
    }

    fn end_hold(&self, inner: &mut Inner) {
        let (held, refused) = (inner.waiting.len(), inner.refused);
        tracing::info!(
            pool = %self.pool,
            "the hold has ended: {held} requests go on, {refused} were refused (hold_queue)"
        );
        inner.ordered_until = Some(Instant::now() + ORDER_TIME);
        if inner.is_cut_short && inner.held_until.is_none_or(|until| until <= Instant::now()) {
            inner.is_over = true;
            // Drops the senders: each waiting request notices this, and is refused.
            inner.waiting.clear();
        }
        inner.held_until = None;
    }

    /// Lets the requests through whose turn it is.
    fn advance(self: &Arc<Self>) {
        let window = self.upstream.children().saturating_add(SPARE).min(UNDER_WAY_MAX);
        loop {
            let mut inner = self.lock();
            let is_ordered = inner.ordered_until.is_some_and(|until| until > Instant::now());
            let is_blocked = is_ordered && (inner.is_turn_taken || inner.under_way >= window);
            if inner.held_until.is_some() || is_blocked {
                return;
            }
            let Some((_, sender)) = inner.waiting.pop_first() else { break };
            inner.under_way += 1;
            inner.is_turn_taken = true;
            drop(inner);
            if let Err(pass) = sender.send(Pass::new(self)) {
                // The client went away just now.
                pass.forget();
                self.leave(true);
            }
        }
    }

    /// A request that had waited has got its place in the queue of the pool.
    fn turn_over(self: &Arc<Self>) {
        let mut inner = self.lock();
        inner.is_turn_taken = false;
        self.update(&inner);
        drop(inner);
        self.advance();
    }

    /// Counts a request that had waited as no longer under way.
    fn leave(&self, has_turn: bool) {
        let mut inner = self.lock();
        inner.under_way -= 1;
        inner.is_turn_taken &= !has_turn;
        self.update(&inner);
    }

    fn update(&self, inner: &Inner) {
        let is_open = inner.maintenance.is_none() && !inner.must_wait();
        self.is_open.store(is_open, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Wakes the keeper, which then ends.
        self.changed.notify_one();
    }
}

/// A request that waits. Dropping it gives its place to another one.
#[derive(Debug)]
pub(super) struct Wait {
    gate: Arc<Gate>,
    ticket: u64,
    pass: oneshot::Receiver<Pass>,
}

impl Wait {
    /// Waits for the pass. None: the request is refused.
    pub(super) async fn ended(mut self) -> Option<Pass> {
        (&mut self.pass).await.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        // Dropped after the lock is released: a pass locks the gate.
        let left = inner.waiting.remove(&self.ticket);
        self.gate.update(&inner);
        drop(inner);
        drop(left);
    }
}
