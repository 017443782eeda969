//! What is behind the lock: replicas and the queues. No I/O, no clock.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::health::{Other, Suspect};
use super::queue::{Queues, Ticket, Waiting};
use super::replica::{Health, Member, Replica};
use super::slot::{Lease, Slot};
use super::{Connection, Kept, Upstream};
use crate::config::KeepAlive;
use crate::control;
use crate::gateway::table::Served;
use crate::release::Release;

#[derive(Debug, Default)]
pub(super) struct State {
    replicas: Vec<Replica>,
    queues: Queues,
    count: Count,
}

/// Counts what is given a number: replicas, tickets, attempts to lease.
#[derive(Debug, Default)]
struct Count(u64);

impl Count {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What comes of asking for a slot.
pub(super) enum Taken {
    Lease(Lease),
    /// There is none now.
    Wait,
    /// Nothing serves that release.
    Moved,
}

impl State {
    /// Takes over who serves; returns what they serve, each release once.
    pub(super) fn exchange(&mut self, members: Vec<Member>, keep: KeepAlive) -> Vec<Arc<Served>> {
        for replica in &mut self.replicas {
            replica.serves = false;
        }
        let mut served: Vec<Arc<Served>> = Vec::new();
        for member in members {
            if served.iter().all(|other| other.release != member.served.release) {
                served.push(Arc::clone(&member.served));
            }
            if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.is(&member)) {
                replica.serves = true;
                replica.member = member;
            } else {
                let id = self.count.next();
                self.replicas.push(Replica::new(id, member, keep));
            }
        }
        for replica in self.replicas.iter_mut().filter(|replica| !replica.serves) {
            replica.idle.clear();
        }
        self.replicas.retain(|replica| replica.serves || replica.in_flight > 0);
        self.queues.retain(|release| offers(&self.replicas, release));
        served
    }

    /// What the replica with the least in flight serves.
    pub(super) fn lightest(&self) -> Option<Arc<Served>> {
        let serving = self.replicas.iter().filter(|replica| replica.serves);
        let lightest = serving.min_by_key(|it| (it.is_aside(), it.in_flight, it.last))?;
        Some(Arc::clone(&lightest.member.served))
    }

    /// Takes a slot, unless other requests wait for one.
    pub(super) fn take(&mut self, release: &Release, keepable: bool) -> Taken {
        if !offers(&self.replicas, release) {
            return Taken::Moved;
        }
        if self.queues.has(release) {
            return Taken::Wait;
        }
        let lease = lease(&mut self.replicas, &mut self.count, release, keepable);
        lease.map_or(Taken::Wait, Taken::Lease)
    }

    /// Whether any of its connections is kept: a request that waits may get one.
    pub(super) fn keeps(&self) -> bool {
        self.replicas.iter().any(|replica| replica.keeps)
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.queues.len()
    }

    /// Joins the queue. The sender is dropped where it turns out that nothing is to be waited for.
    pub(super) fn join(
        &mut self,
        upstream: &Arc<Upstream>,
        release: &Release,
        request: Option<Vec<u8>>,
    ) -> (Ticket, oneshot::Receiver<Slot>) {
        let ticket = self.count.next();
        let (turn, receiver) = oneshot::channel();
        let upstream = Arc::clone(upstream);
        self.queues.push(release, Waiting { ticket, upstream, request, turn });
        (ticket, receiver)
    }

    /// Leaves the queue, where it has not left it yet.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.queues.remove(ticket);
    }

    /// Gives slots to those who wait, first come, first served. It takes as many steps as there are
    /// slots to give, and one for each release: however many wait.
    pub(super) fn hand_out(&mut self) {
        let (replicas, count) = (&mut self.replicas, &mut self.count);
        for queue in self.queues.iter_mut() {
            while let Some(first) = queue.waiting.front() {
                let keepable = first.request.is_some();
                let Some(mut lease) = lease(replicas, count, &queue.release, keepable) else {
                    break;
                };
                let Some(first) = queue.waiting.pop_front() else { break };
                if let Some(request) = &first.request {
                    lease.send(request);
                }
                let slot = Slot::new(&first.upstream, lease);
                // The request has gone away. Dropped here, the slot would wait for the lock that is held.
                if let Err(slot) = first.turn.send(slot)
                    && let Some(lease) = slot.into_lease()
                {
                    end(replicas, lease.replica, None);
                }
            }
        }
    }

    /// A request has ended, and was answered or not; its connection may be open still.
    pub(super) fn give_back(&mut self, id: u64, open: Option<Connection>, is_answered: bool) {
        if is_answered && let Some(replica) = self.replicas.iter_mut().find(|it| it.id == id) {
            replica.answered += 1;
        }
        end(&mut self.replicas, id, open);
        self.hand_out();
        self.replicas.iter_mut().for_each(Replica::spare_a_child);
    }

    /// Sets a replica aside, or takes it back. Says whether that is new of one that serves.
    pub(super) fn set_health(&mut self, id: u64, health: Health) -> bool {
        let Some(replica) = self.replicas.iter_mut().find(|it| it.id == id && it.serves) else {
            return false;
        };
        let was_aside = replica.is_aside();
        replica.health = health;
        let is_new = replica.is_aside() != was_aside;
        // What waits for it is routed anew, where another release is served.
        self.queues.retain(|release| offers(&self.replicas, release));
        is_new
    }

    /// A request to a replica has had no answer for a while. Returns how to examine the replica; None:
    /// there is no reason to, or nothing would follow from it. Without a free child, it cannot answer
    /// a ping, and gets no new requests anyway.
    pub(super) fn suspect(&mut self, id: u64) -> Option<Suspect> {
        let is_other = |it: &&Replica| it.serves && !it.is_aside() && it.id != id;
        let others: Vec<Other> =
            self.replicas.iter().filter(is_other).map(Replica::other).collect();
        let replica = self.replicas.iter_mut().find(|it| it.id == id)?;
        let is_free = replica.serves && !replica.is_aside() && replica.has_free_child();
        if others.is_empty() || !is_free || replica.is_examined {
            return None;
        }
        let suspect = replica.suspect(others)?;
        replica.is_examined = true;
        Some(suspect)
    }

    /// Ends the examination of a replica. `eject`: it gets no more requests, unless it is the last
    /// one that could get any. Says whether it was ejected.
    pub(super) fn examined(&mut self, id: u64, eject: bool) -> bool {
        let is_well = |it: &Replica| it.serves && !it.is_aside() && it.id != id;
        let eject = eject && self.replicas.iter().any(is_well);
        if let Some(replica) = self.replicas.iter_mut().find(|it| it.id == id) {
            replica.is_examined = false;
        }
        eject && self.set_health(id, Health::Silent)
    }

    /// Whether a replica has answered since `other` was taken down.
    pub(super) fn has_answered(&self, other: &Other) -> bool {
        self.replicas.iter().any(|it| it.id == other.replica && it.answered > other.answered)
    }

    pub(super) fn close_stale(&mut self) {
        self.replicas.iter_mut().for_each(Replica::close_stale);
    }

    pub(super) fn is_aside(&self, id: u64) -> bool {
        self.replicas.iter().any(|replica| replica.id == id && replica.serves && replica.is_aside())
    }

    pub(super) fn show(&self) -> Vec<control::Replica> {
        self.replicas.iter().map(Replica::show).collect()
    }

    /// How many times a replica was looked for, and other numbers given.
    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.count.0
    }
}

/// Whether requests for a release may wait for its replicas. Those that are set aside come back, and
/// are waited for where nothing else serves.
fn offers(replicas: &[Replica], release: &Release) -> bool {
    let has_it = |it: &&Replica| it.serves && it.member.served.release == *release;
    let are_all_aside = || replicas.iter().all(|it| !it.serves || it.is_aside());
    replicas.iter().filter(has_it).any(|it| !it.is_aside() || are_all_aside())
}

fn lease(
    replicas: &mut [Replica],
    count: &mut Count,
    release: &Release,
    keepable: bool,
) -> Option<Lease> {
    let now = count.next();
    let able = replicas.iter_mut().filter(|replica| replica.takes(release));
    let replica = able.min_by_key(|it| (it.in_flight, it.last))?;
    replica.last = now;
    let (keep, kept) = replica.begin(keepable);
    let kept = kept.map(|connection| Kept { connection, sent: None });
    Some(Lease { replica: replica.id, socket: Arc::clone(&replica.member.socket), keep, kept })
}

fn end(replicas: &mut Vec<Replica>, id: u64, open: Option<Connection>) {
    let Some(at) = replicas.iter().position(|replica| replica.id == id) else { return };
    let replica = &mut replicas[at];
    replica.end(open);
    if !replica.serves && replica.in_flight == 0 {
        replicas.swap_remove(at);
    }
}
