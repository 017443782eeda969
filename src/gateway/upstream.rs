//! The replicas of a pool as the gateway uses them: who serves, who has how much to do, who waits.
//!
//! A request gets a [`Slot`] on the replica that has the least in flight, among those that serve
//! the release it was routed by; as many as that replica has children, and a quarter more, so that
//! no child waits for its next one. Where there is none left, it waits in a queue, first come,
//! first served. The slot is given back by being dropped.
//!
//! What serves is exchanged whole ([`Upstream::exchange`]), and under the same lock as slots are
//! given: once that has returned, no slot on what does not serve any more is given to anybody.
//! Its slots that are in use stay counted until they are given back; requests that waited for it
//! are told that it has gone, and are routed anew.

mod connection;
mod health;
mod probe;
mod queue;
mod replica;
mod slot;
mod state;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;
use tokio::time::timeout;

pub(super) use health::{Ping, SILENT};
pub(super) use replica::Member;
pub(super) use slot::Slot;

pub(super) use connection::{Connection, Kept};

use super::fastcgi::Request;
use super::table::{Served, Table};
use crate::config::Gateway;
use crate::control;
use queue::Ticket;
use state::{State, Taken};

/// The replicas of one pool.
#[derive(Debug)]
pub(super) struct Upstream {
    table: ArcSwap<Table>,
    state: Mutex<State>,
    /// Something else serves.
    changed: Notify,
    settings: ArcSwap<Gateway>,
}

/// Why a request gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// What it was routed by does not serve any more: it has to be routed anew.
    Moved,
    /// The queue is full.
    Full,
    /// It has waited for too long.
    TimedOut,
}

impl Upstream {
    /// A pool of which nothing serves yet.
    pub(super) fn new(settings: &Gateway) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            settings: ArcSwap::from_pointee(settings.clone()),
        })
    }

    /// Goes by other settings from now on. Whether connections are kept changes with a replica's
    /// next generation.
    pub(super) fn configure(&self, settings: &Gateway) {
        self.settings.store(Arc::new(settings.clone()));
    }

    fn queue_timeout(&self) -> Duration {
        self.settings.load().queue_timeout
    }

    /// What serves from now on, all at once: whoever asks for the table after this has returned
    /// gets the new one.
    pub(super) fn exchange(&self, members: Vec<Member>) {
        let mut state = self.lock();
        let served = state.exchange(members, self.settings.load().fastcgi_keep_alive);
        self.table.store(Arc::new(Table { served }));
        state.hand_out();
        self.changed.notify_waiters();
    }

    /// The table of this moment.
    pub(super) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The release by which a request is routed: that of the replica which has the least to do.
    /// While a pool goes from one release to the next by rolling, there are two; else one.
    pub(super) fn served(&self) -> Option<Arc<Served>> {
        let table = self.table();
        match table.served.as_slice() {
            [] => None,
            [only] => Some(Arc::clone(only)),
            _ => self.lock().lightest(),
        }
    }

    /// The same; where nothing serves, it is waited for.
    pub(super) async fn await_served(&self) -> Option<Arc<Served>> {
        if let Some(served) = self.served() {
            return Some(served);
        }
        let something = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                // Before looking, so that no change is missed.
                changed.as_mut().enable();
                if let Some(served) = self.served() {
                    return served;
                }
                changed.await;
            }
        };
        timeout(self.queue_timeout(), something).await.ok()
    }

    /// Waits for a slot on a replica that serves this release. `request`: one that may travel on a
    /// connection that was used before.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        served: &Served,
        request: Option<&mut Request>,
    ) -> Result<Slot, NoSlot> {
        let (ticket, turn) = {
            let mut state = self.lock();
            match state.take(&served.release, request.is_some()) {
                Taken::Lease(lease) => return Ok(Slot::new(self, lease)),
                Taken::Moved => return Err(NoSlot::Moved),
                Taken::Wait if state.waiting() >= self.settings.load().queue => {
                    return Err(NoSlot::Full);
                }
                Taken::Wait => {
                    let request = request.filter(|_| state.keeps());
                    let request = request.map(|request| request.bytes(true).to_vec());
                    state.join(self, &served.release, request)
                }
            }
        };
        let _place = Place { upstream: self, ticket };
        match timeout(self.queue_timeout(), turn).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(NoSlot::Moved),
            Err(_) => Err(NoSlot::TimedOut),
        }
    }

    /// Closes kept connections that nobody has used for a while: to be called now and then.
    pub(super) fn close_stale(&self) {
        self.lock().close_stale();
    }

    /// What `status` shows of each replica, and how many requests wait.
    pub(super) fn show(&self) -> (Vec<control::Replica>, usize) {
        let state = self.lock();
        (state.show(), state.waiting())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and if it did, a counter may be wrong, no more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue: left when the request goes away.
struct Place<'a> {
    upstream: &'a Upstream,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.upstream.lock().leave(self.ticket);
    }
}

#[cfg(test)]
mod tests;
