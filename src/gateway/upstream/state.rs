//! What is behind the lock: replicas and the queue. No I/O, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::replica::{Member, Replica};
use super::slot::{Lease, Slot};
use super::{Connection, Kept, Upstream};
use crate::config::KeepAlive;
use crate::control;
use crate::gateway::table::Served;
use crate::release::Release;

/// A number that tells the requests in the queue apart; they grow.
pub(super) type Ticket = u64;

#[derive(Debug, Default)]
pub(super) struct State {
    replicas: Vec<Replica>,
    queue: VecDeque<Waiting>,
    /// Counts what is given a number: replicas, tickets, requests.
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    upstream: Arc<Upstream>,
    release: Release,
    /// What may be sent on a connection that is open already; None: nothing may.
    request: Option<Vec<u8>>,
    /// Dropped when what it waits for has gone.
    turn: oneshot::Sender<Slot>,
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
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

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
                let id = self.number();
                self.replicas.push(Replica::new(id, member, keep));
            }
        }
        for replica in self.replicas.iter_mut().filter(|replica| !replica.serves) {
            replica.idle.clear();
        }
        self.replicas.retain(|replica| replica.serves || replica.in_flight > 0);
        let replicas = &self.replicas;
        self.queue.retain(|waiting| serves(replicas, &waiting.release));
        served
    }

    /// What the replica with the least in flight serves.
    pub(super) fn lightest(&self) -> Option<Arc<Served>> {
        let serving = self.replicas.iter().filter(|replica| replica.serves);
        let lightest = serving.min_by_key(|it| (it.aside, it.in_flight, it.last))?;
        Some(Arc::clone(&lightest.member.served))
    }

    /// Takes a slot, unless others wait for one.
    pub(super) fn take(&mut self, release: &Release, keepable: bool) -> Taken {
        if !serves(&self.replicas, release) {
            return Taken::Moved;
        }
        if self.queue.iter().any(|waiting| waiting.release == *release) {
            return Taken::Wait;
        }
        self.lease(release, keepable).map_or(Taken::Wait, Taken::Lease)
    }

    fn lease(&mut self, release: &Release, keepable: bool) -> Option<Lease> {
        let now = self.number();
        let able = self.replicas.iter_mut().filter(|replica| replica.takes(release));
        let replica = able.min_by_key(|it| (it.in_flight, it.last))?;
        replica.last = now;
        let (keep, kept) = replica.begin(keepable);
        let kept = kept.map(|connection| Kept { connection, sent: None });
        Some(Lease { replica: replica.id, socket: Arc::clone(&replica.member.socket), keep, kept })
    }

    /// Whether any of its connections is kept: who waits may get one.
    pub(super) fn keeps(&self) -> bool {
        self.replicas.iter().any(|replica| replica.keeps)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Joins the queue. The sender is dropped where it turns out that nothing is to be waited for.
    pub(super) fn join(
        &mut self,
        upstream: &Arc<Upstream>,
        release: &Release,
        request: Option<Vec<u8>>,
    ) -> (Ticket, oneshot::Receiver<Slot>) {
        let ticket = self.number();
        let (turn, receiver) = oneshot::channel();
        let (upstream, release) = (Arc::clone(upstream), release.clone());
        self.queue.push_back(Waiting { ticket, upstream, release, request, turn });
        (ticket, receiver)
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Ok(at) = self.queue.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
            self.queue.remove(at);
        }
    }

    /// Gives slots to those who wait, first come, first served.
    pub(super) fn hand_out(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.queue.get(at) {
            let (release, keepable) = (waiting.release.clone(), waiting.request.is_some());
            let Some(mut lease) = self.lease(&release, keepable) else {
                at += 1; // somebody behind him may wait for another release
                continue;
            };
            let Some(waiting) = self.queue.remove(at) else { return };
            if let Some(request) = &waiting.request {
                lease.send(request);
            }
            let slot = Slot::new(&waiting.upstream, lease);
            // He has gone away. Dropped here, the slot would wait for the lock that we hold.
            if let Err(slot) = waiting.turn.send(slot)
                && let Some(lease) = slot.into_lease()
            {
                self.end(lease.replica, None);
            }
        }
    }

    /// A request has ended; its connection may be open still.
    pub(super) fn give_back(&mut self, id: u64, open: Option<Connection>) {
        self.end(id, open);
        self.hand_out();
        self.replicas.iter_mut().for_each(Replica::spare_a_child);
    }

    fn end(&mut self, id: u64, open: Option<Connection>) {
        let Some(at) = self.replicas.iter().position(|replica| replica.id == id) else { return };
        let replica = &mut self.replicas[at];
        replica.end(open);
        if !replica.serves && replica.in_flight == 0 {
            self.replicas.swap_remove(at);
        }
    }

    /// Sets a replica aside that cannot be connected to, or takes it back. Says whether that is new
    /// of one that serves.
    pub(super) fn set_aside(&mut self, id: u64, aside: bool) -> bool {
        let Some(replica) = self.replicas.iter_mut().find(|it| it.id == id && it.serves) else {
            return false;
        };
        std::mem::replace(&mut replica.aside, aside) != aside
    }

    pub(super) fn close_stale(&mut self) {
        self.replicas.iter_mut().for_each(Replica::close_stale);
    }

    pub(super) fn is_aside(&self, id: u64) -> bool {
        self.replicas.iter().any(|replica| replica.id == id && replica.serves && replica.aside)
    }

    pub(super) fn show(&self) -> Vec<control::Replica> {
        self.replicas.iter().map(Replica::show).collect()
    }
}

fn serves(replicas: &[Replica], release: &Release) -> bool {
    replicas.iter().any(|it| it.serves && it.member.served.release == *release)
}
