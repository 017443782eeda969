//! One replica: a generation's socket, and what is in flight on it.

use std::path::Path;
use std::sync::Arc;

use super::Connection;
use crate::config::KeepAlive;
use crate::gateway::control;
use crate::gateway::table::Served;
use crate::php_fpm::Children;
use crate::release::Release;

/// A replica that serves.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its generation's private socket.
    pub socket: Arc<Path>,
    /// What it serves.
    pub served: Arc<Served>,
    /// How many children it may have; None: that is not known.
    pub children: Option<Children>,
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: u64,
    pub(super) member: Member,
    /// It gets new requests.
    pub(super) serves: bool,
    /// It could not be connected to.
    pub(super) aside: bool,
    pub(super) in_flight: u32,
    /// How many of those are on connections that are to be kept.
    pub(super) in_flight_kept: u32,
    /// Connections without a request.
    pub(super) idle: Vec<Connection>,
    /// The most connections that may be kept.
    pub(super) keep_max: u32,
    /// When it was last given a request, counted in requests.
    pub(super) last: u64,
}

impl Replica {
    pub(super) fn new(id: u64, member: Member, keep: KeepAlive) -> Self {
        let keeps = match keep {
            KeepAlive::On => true,
            KeepAlive::Off => false,
            KeepAlive::Auto => member.children.is_some_and(|children| children.fixed),
        };
        // A child that serves a kept connection accepts no other one. One of them is left to do
        // so: a ping would wait for ever otherwise.
        let spare = member.children.map_or(0, |children| children.max.saturating_sub(1));
        Self {
            id,
            member,
            serves: true,
            aside: false,
            in_flight: 0,
            in_flight_kept: 0,
            idle: Vec::new(),
            keep_max: if keeps { spare } else { 0 },
            last: 0,
        }
    }

    pub(super) fn is(&self, member: &Member) -> bool {
        self.member.socket == member.socket && self.member.served.release == member.served.release
    }

    pub(super) fn takes(&self, release: &Release) -> bool {
        self.serves
            && !self.aside
            && self.in_flight < self.limit()
            && self.member.served.release == *release
    }

    fn children(&self) -> u32 {
        self.member.children.map_or(u32::MAX, |children| children.max)
    }

    /// As many as it has children; and where those come back for each request, some more, which
    /// wait at its socket: a child that found nobody there would go to sleep, and has to be woken.
    /// (8 children, 32 clients: 0.8 times the requests a second without them.)
    fn limit(&self) -> u32 {
        let children = self.children();
        if self.keep_max > 0 { children } else { children.saturating_add(children / 4) }
    }

    fn kept(&self) -> u32 {
        self.in_flight_kept + u32::try_from(self.idle.len()).unwrap_or(u32::MAX)
    }

    /// Takes a connection for one more request: whether it is to be kept, and one that is open.
    pub(super) fn begin(&mut self, keepable: bool) -> (bool, Option<Connection>) {
        self.in_flight += 1;
        let kept = if keepable { self.idle.pop() } else { None };
        let keep = kept.is_some() || (keepable && self.kept() < self.keep_max);
        if keep {
            self.in_flight_kept += 1;
        } else if self.in_flight - self.in_flight_kept + self.kept() > self.children() {
            // The child behind it is needed.
            self.idle.pop();
        }
        (keep, kept)
    }

    /// A request has ended, on a connection that was to be kept or not, and that may be open still.
    pub(super) fn end(&mut self, keep: bool, open: Option<Connection>) {
        self.in_flight -= 1;
        self.in_flight_kept -= u32::from(keep);
        if self.serves && self.kept() < self.keep_max {
            self.idle.extend(open);
        }
    }

    /// Gives the children of connections back that nobody has used for a while.
    pub(super) fn close_stale(&mut self) {
        self.idle.retain(Connection::is_fresh);
    }

    pub(super) fn show(&self) -> control::Replica {
        control::Replica {
            socket: self.member.socket.to_path_buf(),
            release: self.member.served.release.path.clone(),
            serves: self.serves,
            aside: self.aside,
            in_flight: self.in_flight,
            kept: self.idle.len(),
        }
    }
}
