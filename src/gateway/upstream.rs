//! The replicas of one pool as upstream endpoints: which one gets the next request, and which
//! requests wait.
//!
//! A request gets a [`Lease`] on the endpoint with the fewest requests in flight, among those that
//! serve the release by which the request was routed. If none has a free place, the request waits in
//! a queue, first in, first out. Dropping the lease gives the place back.
//!
//! [`Upstream::replace_endpoints`] replaces all endpoints at once, under the lock under which leases
//! are given. After it has returned, no request gets a lease on a removed endpoint. Leases that are in
//! use stay counted. A request that waits for a release that is no longer served is routed again.

mod connection;
mod endpoint;
mod exchange;
mod health;
mod lease;
mod queue;
mod scheduler;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::fastcgi::Request;
use super::routing_table::{RoutingTable, ServedRelease};
use crate::config::Gateway;
use crate::control;
pub(super) use connection::{is_out_of_resources, open as connect};
pub(super) use endpoint::{EndpointSpec, Ping};
pub(super) use exchange::{Exchange, Failure, NotSent};
pub(super) use health::UNRESPONSIVE_AFTER;
pub(super) use lease::Lease;
use queue::{Assignment, Ticket};
use scheduler::{Acquired, SharedScheduler};

/// The endpoints of one pool.
#[derive(Debug)]
pub(super) struct Upstream {
    table: ArcSwap<RoutingTable>,
    scheduler: Arc<SharedScheduler>,
    /// Notified when the endpoints have been replaced.
    replaced: Notify,
    settings: ArcSwap<Gateway>,
}

/// Why a request gets no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLease {
    /// The release is not served any more: the request must be routed again.
    ReleaseGone,
    /// `queue` requests wait already.
    QueueFull,
    /// The request has waited for `queue_timeout`.
    TimedOut,
}

impl Upstream {
    /// A pool without endpoints.
    pub(super) fn new(settings: &Gateway) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::default(),
            scheduler: Arc::default(),
            replaced: Notify::new(),
            settings: ArcSwap::from_pointee(settings.clone()),
        })
    }

    /// Applies other settings. `fastcgi_keep_alive` applies to endpoints that are added later.
    pub(super) fn configure(&self, settings: &Gateway) {
        self.settings.store(Arc::new(settings.clone()));
    }

    fn queue_timeout(&self) -> Duration {
        self.settings.load().queue_timeout
    }

    /// Replaces all endpoints, and the routing table with them. Every request that is routed after
    /// this has returned uses the new table.
    pub(super) fn replace_endpoints(&self, endpoints: Vec<EndpointSpec>) {
        let mut scheduler = self.scheduler.lock();
        let keep_alive = self.settings.load().fastcgi_keep_alive;
        let releases = scheduler.replace_endpoints(endpoints, keep_alive);
        self.table.store(Arc::new(RoutingTable { releases }));
        scheduler.assign_waiting();
        self.replaced.notify_waiters();
    }

    /// The current routing table.
    pub(super) fn table(&self) -> Guard<Arc<RoutingTable>> {
        self.table.load()
    }

    /// The release for a new request: that of the endpoint with the fewest requests in flight. During a
    /// rolling restart there are two releases, else one.
    pub(super) fn release(&self) -> Option<Arc<ServedRelease>> {
        let table = self.table();
        match table.releases.as_slice() {
            [] => None,
            [only] => Some(Arc::clone(only)),
            _ => self.scheduler.lock().least_busy_release(),
        }
    }

    /// The release for a new request. If there is none, waits for one, up to `queue_timeout`.
    pub(super) async fn wait_for_release(&self) -> Option<Arc<ServedRelease>> {
        if let Some(release) = self.release() {
            return Some(release);
        }
        let next = async {
            loop {
                let mut replaced = pin!(self.replaced.notified());
                // Registers before the check, so that no replacement is missed.
                replaced.as_mut().enable();
                if let Some(release) = self.release() {
                    return release;
                }
                replaced.await;
            }
        };
        timeout(self.queue_timeout(), next).await.ok()
    }

    /// Waits for a lease on an endpoint that serves this release. `request`: given only if it may be
    /// sent on an idle connection.
    pub(super) async fn acquire(
        &self,
        served: &ServedRelease,
        request: Option<&mut Request>,
    ) -> Result<Lease, NoLease> {
        let (ticket, assigned) = {
            let mut scheduler = self.scheduler.lock();
            match scheduler.acquire(&served.release, request.is_some()) {
                Acquired::Assigned(assignment) => {
                    return Ok(Lease::new(&self.scheduler, assignment));
                }
                Acquired::ReleaseGone => return Err(NoLease::ReleaseGone),
                Acquired::MustWait if scheduler.waiting() >= self.settings.load().queue => {
                    return Err(NoLease::QueueFull);
                }
                Acquired::MustWait => {
                    let request = request.filter(|_| scheduler.keeps_connections());
                    let request = request.map(|request| request.bytes(true).to_vec());
                    scheduler.enqueue(&served.release, request)
                }
            }
        };
        let mut wait = Wait { scheduler: &self.scheduler, ticket, assigned };
        match timeout(self.queue_timeout(), &mut wait.assigned).await {
            Ok(Ok(assignment)) => Ok(Lease::new(&self.scheduler, assignment)),
            Ok(Err(_)) => Err(NoLease::ReleaseGone),
            Err(_) => Err(NoLease::TimedOut),
        }
    }

    /// Whether an endpoint can take a request now.
    pub(super) fn has_free_place(&self) -> bool {
        self.scheduler.lock().has_free_place()
    }

    /// Closes connections that have been idle for too long. To be called regularly.
    pub(super) fn close_stale(&self) {
        self.scheduler.lock().close_stale();
    }

    /// Whether an endpoint gets requests, and is not ejected.
    pub(super) fn can_serve(&self) -> bool {
        self.scheduler.lock().can_serve()
    }

    /// How many requests the endpoints can work on at the same time.
    pub(super) fn children(&self) -> usize {
        self.scheduler.lock().children()
    }

    /// The state of each endpoint for `status`, and the number of requests that wait.
    pub(super) fn show(&self) -> (Vec<control::ReplicaState>, usize) {
        let scheduler = self.scheduler.lock();
        (scheduler.show(), scheduler.waiting())
    }
}

/// A request that waits in the queue. Dropping this value removes the request from the queue.
struct Wait<'a> {
    scheduler: &'a SharedScheduler,
    ticket: Ticket,
    assigned: oneshot::Receiver<Assignment>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut scheduler = self.scheduler.lock();
        scheduler.leave_queue(self.ticket);
        // The assignment may have been sent after the request was cancelled or timed out.
        if let Ok(assignment) = self.assigned.try_recv() {
            scheduler.give_back(assignment.endpoint, None, false);
        }
    }
}

#[cfg(test)]
mod tests;
