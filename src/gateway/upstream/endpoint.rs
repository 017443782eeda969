//! One endpoint: the socket of a replica's generation, and what is in flight on it.

use std::path::Path;
use std::sync::Arc;

use super::connection::{Connection, Idle};
use crate::config::KeepAlive;
use crate::control;
use crate::gateway::routing_table::ServedRelease;
use crate::release::Release;
use crate::runtime::{Children, Generation, Server};

/// An endpoint as the observation of a pool describes it.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct EndpointSpec {
    /// The private socket of the generation.
    pub socket: Arc<Path>,
    /// The release that the generation serves.
    pub served: Arc<ServedRelease>,
    /// The number of children of the generation; None: not known.
    pub children: Option<Children>,
    /// How to check that the generation responds; None: there is no way.
    pub ping: Option<Arc<Ping>>,
}

/// The ping of a server: a request that it answers without a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Ping(pub(super) Server);

impl Ping {
    /// The ping of a generation; None: its server has no ping.
    pub(in crate::gateway) fn of(generation: &Generation) -> Option<Arc<Self>> {
        let server = &generation.server;
        server.has_ping().then(|| Arc::new(Self(server.clone())))
    }
}

/// Whether an endpoint can get requests. It is ejected unless it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Healthy,
    /// Its socket refused a connection.
    Unreachable,
    /// Its socket accepts connections, and php-fpm does not respond.
    Unresponsive,
}

/// An endpoint to be probed.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) endpoint: u64,
    pub(super) socket: Arc<Path>,
    pub(super) ping: Arc<Ping>,
    /// The endpoints that could take its requests.
    pub(super) others: Vec<Other>,
}

/// A healthy endpoint, to compare a suspect with.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) endpoint: u64,
    pub(super) socket: Arc<Path>,
    pub(super) ping: Option<Arc<Ping>>,
    /// The number of its responses when the probe began.
    pub(super) responses: u64,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) id: u64,
    pub(super) spec: EndpointSpec,
    /// False: it has been replaced, and stays only until its last request has ended.
    pub(super) is_current: bool,
    pub(super) health: Health,
    /// A probe of it is under way.
    pub(super) is_probed: bool,
    /// The number of its complete responses.
    pub(super) responses: u64,
    pub(super) in_flight: u32,
    /// Open connections without a request.
    pub(super) idle: Vec<Idle>,
    /// Whether its connections are kept open.
    pub(super) keep_alive: bool,
    /// The scheduler's count at its last assignment.
    pub(super) last_used: u64,
}

impl Endpoint {
    pub(super) fn new(id: u64, spec: EndpointSpec, keep_alive: KeepAlive) -> Self {
        // No keep-alive if the number of children is unknown: idle connections could hold all children.
        let keep_alive = spec.children.is_some_and(|children| match keep_alive {
            KeepAlive::On => true,
            KeepAlive::Off => false,
            KeepAlive::Auto => children.fixed,
        });
        Self {
            id,
            spec,
            is_current: true,
            health: Health::Healthy,
            is_probed: false,
            responses: 0,
            in_flight: 0,
            idle: Vec::new(),
            keep_alive,
            last_used: 0,
        }
    }

    /// Whether this is the endpoint that `spec` describes.
    pub(super) fn is(&self, spec: &EndpointSpec) -> bool {
        self.spec.socket == spec.socket && self.spec.served.release == spec.served.release
    }

    /// Whether it can take a request for this release now.
    pub(super) fn can_take(&self, release: &Release) -> bool {
        self.is_current
            && !self.is_ejected()
            && self.in_flight < self.limit()
            && self.spec.served.release == *release
    }

    /// An ejected endpoint gets no requests until it is healthy.
    pub(super) fn is_ejected(&self) -> bool {
        self.health != Health::Healthy
    }

    pub(super) fn children(&self) -> u32 {
        self.spec.children.map_or(u32::MAX, |children| children.max)
    }

    /// The most requests in flight: one for each child. Without keep-alive, up to a quarter more requests
    /// wait in the socket's backlog: a child that finds the backlog empty goes to sleep, and waking a
    /// child takes time. (With 8 children and 32 clients, throughput without the quarter is 0.8 times as
    /// high.)
    fn limit(&self) -> u32 {
        let children = self.children();
        if self.keep_alive { children } else { children.saturating_add(children / 4) }
    }

    /// The number of children that have a request or an idle connection.
    fn busy_children(&self) -> u32 {
        self.in_flight.saturating_add(u32::try_from(self.idle.len()).unwrap_or(u32::MAX))
    }

    /// Whether a child has neither a request nor an idle connection of the gateway.
    pub(super) fn has_free_child(&self) -> bool {
        self.busy_children() < self.children()
    }

    /// Describes the endpoint for a probe; None: the endpoint has no ping.
    pub(super) fn suspect(&self, others: Vec<Other>) -> Option<Suspect> {
        let (socket, ping) = (Arc::clone(&self.spec.socket), self.spec.ping.clone()?);
        Some(Suspect { endpoint: self.id, socket, ping, others })
    }

    /// Describes the endpoint for comparison with a suspect.
    pub(super) fn other(&self) -> Other {
        let (socket, ping) = (Arc::clone(&self.spec.socket), self.spec.ping.clone());
        Other { endpoint: self.id, socket, ping, responses: self.responses }
    }

    /// Counts one more request. Returns whether its connection is to be kept open, and an idle
    /// connection for it.
    pub(super) fn begin(&mut self, may_reuse: bool) -> (bool, Option<Connection>) {
        let reused = if may_reuse { self.idle.pop().and_then(Idle::into_fresh) } else { None };
        self.in_flight += 1;
        // The new connection needs a child: closing an idle connection frees one.
        if self.busy_children() > self.children() {
            self.idle.pop();
        }
        (may_reuse && self.keep_alive, reused)
    }

    /// A request has ended; its connection may still be open.
    pub(super) fn end(&mut self, open: Option<Connection>) {
        self.in_flight -= 1;
        if self.is_current && self.keep_alive {
            let is_last = self.busy_children() + 1 >= self.children();
            let kept = open.filter(|it| !is_last || it.is_young());
            self.idle.extend(kept.map(Idle::new));
        }
    }

    /// Closes an idle connection if all children are busy. A child with an idle connection accepts no
    /// other one, so that php-fpm's ping would wait without end. To be called while no request waits.
    pub(super) fn free_a_child(&mut self) {
        if self.keep_alive && self.busy_children() >= self.children() {
            self.idle.pop();
        }
    }

    pub(super) fn close_stale(&mut self) {
        self.idle.retain(Idle::is_fresh);
    }

    pub(super) fn show(&self) -> control::ReplicaState {
        control::ReplicaState {
            socket: self.spec.socket.to_path_buf(),
            release: self.spec.served.release.path.clone(),
            serves: self.is_current,
            ejected: self.is_ejected(),
            silent: self.health == Health::Unresponsive,
            in_flight: self.in_flight,
            idle: self.idle.len(),
        }
    }
}
