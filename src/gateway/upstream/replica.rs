//! One replica: a generation's socket, and what is in flight on it.

use std::path::Path;
use std::sync::Arc;

use super::connection::{Connection, Idle};
use super::health::{Other, Ping, Suspect};
use crate::config::KeepAlive;
use crate::control;
use crate::gateway::table::Served;
use crate::release::Release;
use crate::runtime::Children;

/// A replica that serves.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its generation's private socket.
    pub socket: Arc<Path>,
    /// What it serves.
    pub served: Arc<Served>,
    /// How many children it may have; None: that is not known.
    pub children: Option<Children>,
    /// What tells whether it is alive; None: nothing does.
    pub ping: Option<Arc<Ping>>,
}

/// Whether a replica can be given requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// It could not be connected to.
    Unreachable,
    /// It accepts connections, and does not answer.
    Silent,
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: u64,
    pub(super) member: Member,
    /// It gets new requests.
    pub(super) serves: bool,
    pub(super) health: Health,
    /// It is being asked whether it answers.
    pub(super) is_examined: bool,
    /// How many requests it has answered.
    pub(super) answered: u64,
    pub(super) in_flight: u32,
    /// Connections without a request.
    pub(super) idle: Vec<Idle>,
    /// Connections are kept.
    pub(super) keeps: bool,
    /// When it was last given a request, counted in requests.
    pub(super) last: u64,
}

impl Replica {
    pub(super) fn new(id: u64, member: Member, keep: KeepAlive) -> Self {
        // Never where it is not known how many children there are: all might be held.
        let keeps = member.children.is_some_and(|children| match keep {
            KeepAlive::On => true,
            KeepAlive::Off => false,
            KeepAlive::Auto => children.fixed,
        });
        Self {
            id,
            member,
            serves: true,
            health: Health::Well,
            is_examined: false,
            answered: 0,
            in_flight: 0,
            idle: Vec::new(),
            keeps,
            last: 0,
        }
    }

    pub(super) fn is(&self, member: &Member) -> bool {
        self.member.socket == member.socket && self.member.served.release == member.served.release
    }

    pub(super) fn takes(&self, release: &Release) -> bool {
        self.serves
            && !self.is_aside()
            && self.in_flight < self.limit()
            && self.member.served.release == *release
    }

    /// It gets no requests until it is well again.
    pub(super) fn is_aside(&self) -> bool {
        self.health != Health::Well
    }

    fn children(&self) -> u32 {
        self.member.children.map_or(u32::MAX, |children| children.max)
    }

    /// As many as it has children; and where those come back for each request, some more, which
    /// wait at its socket: a child that found nobody there would go to sleep, and has to be woken.
    /// (8 children, 32 clients: 0.8 times the requests a second without them.)
    fn limit(&self) -> u32 {
        let children = self.children();
        if self.keeps { children } else { children.saturating_add(children / 4) }
    }

    /// Children that serve nobody else.
    fn held(&self) -> u32 {
        self.in_flight.saturating_add(u32::try_from(self.idle.len()).unwrap_or(u32::MAX))
    }

    /// Whether a child serves no request and no kept connection, by what the gateway has sent.
    pub(super) fn has_free_child(&self) -> bool {
        self.held() < self.children()
    }

    /// It, to be examined; None: it has no ping.
    pub(super) fn suspect(&self, others: Vec<Other>) -> Option<Suspect> {
        let (socket, ping) = (Arc::clone(&self.member.socket), self.member.ping.clone()?);
        Some(Suspect { replica: self.id, socket, ping, others })
    }

    /// It, to be compared with one that is examined.
    pub(super) fn other(&self) -> Other {
        let (socket, ping) = (Arc::clone(&self.member.socket), self.member.ping.clone());
        Other { replica: self.id, socket, ping, answered: self.answered }
    }

    /// Takes a connection for one more request: whether it is to be kept, and one that is open.
    pub(super) fn begin(&mut self, keepable: bool) -> (bool, Option<Connection>) {
        let kept = if keepable { self.idle.pop().and_then(Idle::wake) } else { None };
        self.in_flight += 1;
        if self.held() > self.children() {
            self.idle.pop();
        }
        (keepable && self.keeps, kept)
    }

    /// A request has ended, on a connection that may be open still.
    pub(super) fn end(&mut self, open: Option<Connection>) {
        self.in_flight -= 1;
        if self.serves && self.keeps {
            let is_last = self.held() + 1 >= self.children();
            let kept = open.filter(|it| !is_last || it.is_young());
            self.idle.extend(kept.map(Idle::new));
        }
    }

    /// A child that serves a kept connection accepts no other one. While no request waits, one of
    /// them is left to do so: a ping would wait for ever otherwise.
    pub(super) fn spare_a_child(&mut self) {
        if self.keeps && self.held() >= self.children() {
            self.idle.pop();
        }
    }

    /// Gives the children of connections back that nobody has used for a while.
    pub(super) fn close_stale(&mut self) {
        self.idle.retain(Idle::is_fresh);
    }

    pub(super) fn show(&self) -> control::Replica {
        control::Replica {
            socket: self.member.socket.to_path_buf(),
            release: self.member.served.release.path.clone(),
            serves: self.serves,
            aside: self.is_aside(),
            silent: self.health == Health::Silent,
            in_flight: self.in_flight,
            kept: self.idle.len(),
        }
    }
}
