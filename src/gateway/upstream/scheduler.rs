//! Assigns requests to endpoints. Without a clock: time limits are the callers' task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::connection::Connection;
use super::endpoint::{Endpoint, EndpointSpec, Health, Other, Suspect};
use super::queue::{Assignment, Queues, Reused, Ticket, Waiting};
use crate::config::KeepAlive;
use crate::control;
use crate::gateway::routing_table::ServedRelease;
use crate::release::Release;

/// The scheduler of a pool, behind its lock.
#[derive(Debug, Default)]
pub(super) struct SharedScheduler(Mutex<Scheduler>);

impl SharedScheduler {
    pub(super) fn lock(&self) -> MutexGuard<'_, Scheduler> {
        // Nothing panics while the lock is held. After a panic, at worst a counter is wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    endpoints: Vec<Endpoint>,
    queues: Queues,
    count: Count,
}

/// The source of all numbers: ids of endpoints, tickets, attempts to assign.
#[derive(Debug, Default)]
struct Count(u64);

impl Count {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The result of an attempt to acquire a place.
pub(super) enum Acquired {
    Assigned(Assignment),
    /// No endpoint has a free place now.
    MustWait,
    /// No endpoint serves the release.
    ReleaseGone,
}

impl Scheduler {
    /// Replaces all endpoints. An endpoint that is also among the new endpoints keeps its state. Returns
    /// the releases that the new endpoints serve, each once.
    pub(super) fn replace_endpoints(
        &mut self,
        specs: Vec<EndpointSpec>,
        keep_alive: KeepAlive,
    ) -> Vec<Arc<ServedRelease>> {
        for endpoint in &mut self.endpoints {
            endpoint.is_current = false;
        }
        let mut releases: Vec<Arc<ServedRelease>> = Vec::new();
        for spec in specs {
            if releases.iter().all(|other| other.release != spec.served.release) {
                releases.push(Arc::clone(&spec.served));
            }
            if let Some(endpoint) = self.endpoints.iter_mut().find(|it| it.is(&spec)) {
                endpoint.is_current = true;
                endpoint.spec = spec;
            } else {
                let id = self.count.next();
                self.endpoints.push(Endpoint::new(id, spec, keep_alive));
            }
        }
        for endpoint in self.endpoints.iter_mut().filter(|it| !it.is_current) {
            endpoint.idle.clear();
        }
        self.endpoints.retain(|it| it.is_current || it.in_flight > 0);
        self.queues.retain(|release| may_wait_for(&self.endpoints, release));
        releases
    }

    /// The release of the endpoint with the fewest requests in flight.
    pub(super) fn least_busy_release(&self) -> Option<Arc<ServedRelease>> {
        let current = self.endpoints.iter().filter(|it| it.is_current);
        let chosen = current.min_by_key(|it| (it.is_ejected(), it.in_flight, it.last_used))?;
        Some(Arc::clone(&chosen.spec.served))
    }

    /// Assigns a request, unless other requests wait for the same release.
    pub(super) fn acquire(&mut self, release: &Release, may_reuse: bool) -> Acquired {
        if !may_wait_for(&self.endpoints, release) {
            return Acquired::ReleaseGone;
        }
        if self.queues.has(release) {
            return Acquired::MustWait;
        }
        let assignment = assign(&mut self.endpoints, &mut self.count, release, may_reuse);
        assignment.map_or(Acquired::MustWait, Acquired::Assigned)
    }

    /// Whether any endpoint keeps connections open: a request that waits may then get an open connection.
    pub(super) fn keeps_connections(&self) -> bool {
        self.endpoints.iter().any(|it| it.keep_alive)
    }

    /// The number of children of the current endpoints.
    pub(super) fn children(&self) -> usize {
        let current = self.endpoints.iter().filter(|it| it.is_current);
        current.fold(0, |sum, it| sum.saturating_add(it.children() as usize))
    }

    /// Whether an endpoint can take a request now, and no request waits.
    pub(super) fn has_free_place(&self) -> bool {
        let can_take = |it: &Endpoint| it.can_take(&it.spec.served.release);
        self.queues.len() == 0 && self.endpoints.iter().any(can_take)
    }

    /// The number of requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queues.len()
    }

    /// Adds a request to the queue. The sender is dropped when the release is not served any more.
    pub(super) fn enqueue(
        &mut self,
        release: &Release,
        request: Option<Vec<u8>>,
    ) -> (Ticket, oneshot::Receiver<Assignment>) {
        let ticket = self.count.next();
        let (assigned, receiver) = oneshot::channel();
        self.queues.push(release, Waiting { ticket, request, assigned });
        (ticket, receiver)
    }

    /// Removes a request from the queue, if it is still there.
    pub(super) fn leave_queue(&mut self, ticket: Ticket) {
        self.queues.remove(ticket);
    }

    /// Assigns waiting requests, first in, first out. The cost is one step for each free place and one
    /// for each release, whatever the number of waiting requests.
    pub(super) fn assign_waiting(&mut self) {
        let (endpoints, count) = (&mut self.endpoints, &mut self.count);
        for queue in self.queues.iter_mut() {
            while let Some(first) = queue.waiting.front() {
                let may_reuse = first.request.is_some();
                let Some(mut assignment) = assign(endpoints, count, &queue.release, may_reuse)
                else {
                    break;
                };
                let Some(first) = queue.waiting.pop_front() else { break };
                if let Some(request) = &first.request {
                    assignment.send(request);
                }
                if let Err(unused) = first.assigned.send(assignment) {
                    end(endpoints, unused.endpoint, None);
                }
            }
        }
    }

    /// Gives a place back. `open`: its connection, if that can take another request. `is_complete`:
    /// the endpoint has sent a complete response.
    pub(super) fn give_back(&mut self, id: u64, open: Option<Connection>, is_complete: bool) {
        if is_complete && let Some(endpoint) = self.endpoints.iter_mut().find(|it| it.id == id) {
            endpoint.responses += 1;
        }
        end(&mut self.endpoints, id, open);
        self.assign_waiting();
        self.endpoints.iter_mut().for_each(Endpoint::free_a_child);
    }

    /// Ejects an endpoint, or puts it back. Returns whether this changed anything.
    pub(super) fn set_health(&mut self, id: u64, health: Health) -> bool {
        let current = self.endpoints.iter_mut().find(|it| it.id == id && it.is_current);
        let Some(endpoint) = current else { return false };
        let was_ejected = endpoint.is_ejected();
        endpoint.health = health;
        let is_new = endpoint.is_ejected() != was_ejected;
        // Its waiting requests are routed again if another release can be served.
        self.queues.retain(|release| may_wait_for(&self.endpoints, release));
        is_new
    }

    /// An endpoint has not responded to a request for a while. Returns how to probe the endpoint; None: a
    /// probe would be of no use. An endpoint without a free child cannot answer a ping, and gets no new
    /// requests anyway.
    pub(super) fn suspect(&mut self, id: u64) -> Option<Suspect> {
        let is_other = |it: &&Endpoint| it.is_current && !it.is_ejected() && it.id != id;
        let others: Vec<Other> =
            self.endpoints.iter().filter(is_other).map(Endpoint::other).collect();
        let endpoint = self.endpoints.iter_mut().find(|it| it.id == id)?;
        let has_free_child =
            endpoint.is_current && !endpoint.is_ejected() && endpoint.has_free_child();
        if others.is_empty() || !has_free_child || endpoint.is_probed {
            return None;
        }
        let suspect = endpoint.suspect(others)?;
        endpoint.is_probed = true;
        Some(suspect)
    }

    /// Ends the probe of an endpoint. `eject`: the probe has failed. The last healthy endpoint is not
    /// ejected. Returns whether it was ejected.
    pub(super) fn end_probe(&mut self, id: u64, eject: bool) -> bool {
        let is_healthy = |it: &Endpoint| it.is_current && !it.is_ejected() && it.id != id;
        let eject = eject && self.endpoints.iter().any(is_healthy);
        if let Some(endpoint) = self.endpoints.iter_mut().find(|it| it.id == id) {
            endpoint.is_probed = false;
        }
        eject && self.set_health(id, Health::Unresponsive)
    }

    /// Whether an endpoint has sent a response since the probe began.
    pub(super) fn has_responded(&self, other: &Other) -> bool {
        self.endpoints.iter().any(|it| it.id == other.endpoint && it.responses > other.responses)
    }

    pub(super) fn close_stale(&mut self) {
        self.endpoints.iter_mut().for_each(Endpoint::close_stale);
    }

    /// False also for an endpoint that has been replaced.
    pub(super) fn is_ejected(&self, id: u64) -> bool {
        self.endpoints.iter().any(|it| it.id == id && it.is_current && it.is_ejected())
    }

    /// Whether an endpoint gets requests, and is not ejected.
    pub(super) fn can_serve(&self) -> bool {
        self.endpoints.iter().any(|it| it.is_current && !it.is_ejected())
    }

    pub(super) fn show(&self) -> Vec<control::ReplicaState> {
        self.endpoints.iter().map(Endpoint::show).collect()
    }

    /// The number of attempts to assign, plus other numbers given.
    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.count.0
    }
}

/// Whether requests may wait for this release. If all endpoints are ejected, requests wait for them.
fn may_wait_for(endpoints: &[Endpoint], release: &Release) -> bool {
    let serves_it = |it: &&Endpoint| it.is_current && it.spec.served.release == *release;
    let all_ejected = || endpoints.iter().all(|it| !it.is_current || it.is_ejected());
    endpoints.iter().filter(serves_it).any(|it| !it.is_ejected() || all_ejected())
}

fn assign(
    endpoints: &mut [Endpoint],
    count: &mut Count,
    release: &Release,
    may_reuse: bool,
) -> Option<Assignment> {
    let now = count.next();
    let able = endpoints.iter_mut().filter(|it| it.can_take(release));
    let endpoint = able.min_by_key(|it| (it.in_flight, it.last_used))?;
    endpoint.last_used = now;
    let (keep_alive, open) = endpoint.begin(may_reuse);
    let reused = open.map(|connection| Reused { connection, sent: None });
    let socket = Arc::clone(&endpoint.spec.socket);
    Some(Assignment { endpoint: endpoint.id, socket, keep_alive, reused })
}

fn end(endpoints: &mut Vec<Endpoint>, id: u64, open: Option<Connection>) {
    let Some(at) = endpoints.iter().position(|it| it.id == id) else { return };
    let endpoint = &mut endpoints[at];
    endpoint.end(open);
    if !endpoint.is_current && endpoint.in_flight == 0 {
        endpoints.swap_remove(at);
    }
}
