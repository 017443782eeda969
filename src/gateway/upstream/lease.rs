//! The right to send one request to an endpoint.

use std::path::Path;
use std::sync::Arc;

use super::connection::Connection;
use super::endpoint::Health;
use super::health;
use super::queue::{Assignment, Reused};
use super::scheduler::SharedScheduler;

/// The right to send one request to an endpoint. Dropping it gives the place back.
#[derive(Debug)]
pub(in crate::gateway) struct Lease {
    scheduler: Arc<SharedScheduler>,
    /// None once the place has been given back.
    assignment: Option<Assignment>,
}

impl Lease {
    pub(super) fn new(scheduler: &Arc<SharedScheduler>, assignment: Assignment) -> Self {
        Self { scheduler: Arc::clone(scheduler), assignment: Some(assignment) }
    }

    /// The endpoint's socket.
    pub(in crate::gateway) fn socket(&self) -> Arc<Path> {
        let socket = |it: &Assignment| Arc::clone(&it.socket);
        self.assignment.as_ref().map_or_else(|| Path::new("").into(), socket)
    }

    /// Whether php-fpm is asked to keep the connection open.
    pub(super) fn keep_alive(&self) -> bool {
        self.assignment.as_ref().is_some_and(|assignment| assignment.keep_alive)
    }

    /// Takes the open connection, if there is one.
    pub(super) fn take_reused(&mut self) -> Option<Reused> {
        self.assignment.as_mut()?.reused.take()
    }

    /// Gives the place back after a complete response. `open`: the connection, if it can take another
    /// request.
    pub(super) fn finish(mut self, open: Option<Connection>) {
        if let Some(assignment) = self.assignment.take() {
            self.scheduler.lock().give_back(assignment.endpoint, open, true);
        }
    }

    /// Gives the place back after a complete response. The connection is closed.
    pub(in crate::gateway) fn complete(self) {
        self.finish(None);
    }

    /// Reports that the endpoint has not responded for [`health::UNRESPONSIVE_AFTER`]. This starts a
    /// probe of the endpoint, unless the scheduler finds that it would be of no use.
    pub(in crate::gateway) fn suspect(&self) {
        let Some(assignment) = &self.assignment else { return };
        let suspect = self.scheduler.lock().suspect(assignment.endpoint);
        if let Some(suspect) = suspect {
            health::probe(&self.scheduler, suspect);
        }
    }

    /// To be called when the socket has refused a connection. Gives the place back, and ejects the
    /// endpoint until its socket accepts connections.
    pub(in crate::gateway) fn eject_unreachable(mut self) {
        let Some(assignment) = self.assignment.take() else { return };
        let Assignment { endpoint, socket, .. } = &assignment;
        let is_new = self.scheduler.lock().set_health(*endpoint, Health::Unreachable);
        self.give_back(&assignment);
        if is_new {
            health::await_listener(&self.scheduler, *endpoint, socket);
        }
    }

    fn give_back(&self, assignment: &Assignment) {
        self.scheduler.lock().give_back(assignment.endpoint, None, false);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(assignment) = self.assignment.take() {
            self.give_back(&assignment);
        }
    }
}
