//! The right to send one request to a replica.

use std::path::Path;
use std::sync::Arc;

use super::replica::Health;
use super::{Connection, Kept, Upstream, health, probe};

/// Which replica, and on which connection.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) replica: u64,
    pub(super) socket: Arc<Path>,
    /// The connection is to be kept.
    pub(super) keep: bool,
    /// One that is open already.
    pub(super) kept: Option<Kept>,
}

impl Lease {
    /// Sends the request at once, where there is an open connection: its child has just become
    /// free, and would go to sleep before whoever has waited for it is awake.
    pub(super) fn send(&mut self, request: &[u8]) {
        self.kept = self.kept.take().and_then(|kept| {
            let sent = kept.connection.send(request).ok()?;
            Some(Kept { sent: Some(sent), ..kept })
        });
    }
}

/// The right to send one request to a replica, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    upstream: Arc<Upstream>,
    /// None once it has been given back.
    lease: Option<Lease>,
}

impl Slot {
    pub(super) fn new(upstream: &Arc<Upstream>, lease: Lease) -> Self {
        Self { upstream: Arc::clone(upstream), lease: Some(lease) }
    }

    /// The replica's socket.
    pub(crate) fn socket(&self) -> Arc<Path> {
        self.lease.as_ref().map_or_else(|| Path::new("").into(), |lease| Arc::clone(&lease.socket))
    }

    /// Whether php-fpm is to leave the connection open.
    pub(crate) fn keeps(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.keep)
    }

    /// A connection that is open already.
    pub(in crate::gateway) fn take_kept(&mut self) -> Option<Kept> {
        self.lease.as_mut()?.kept.take()
    }

    /// Gives it back after a whole answer, with the connection if that can take another request.
    pub(in crate::gateway) fn finish(mut self, open: Option<Connection>) {
        if let Some(lease) = self.lease.take() {
            self.upstream.lock().give_back(lease.replica, open, true);
        }
    }

    /// The replica has not answered for [`health::SILENT`]: it is examined, where that tells anything.
    pub(in crate::gateway) fn suspect(&self) {
        let Some(lease) = &self.lease else { return };
        let suspect = self.upstream.lock().suspect(lease.replica);
        if let Some(suspect) = suspect {
            health::examine(&self.upstream, suspect);
        }
    }

    /// The replica cannot be connected to: it gets no requests until it can.
    pub(crate) fn set_aside(mut self) {
        let Some(lease) = self.lease.take() else { return };
        let is_new = self.upstream.lock().set_health(lease.replica, Health::Unreachable);
        self.give_back(&lease);
        if is_new {
            probe::start(&self.upstream, lease.replica, &lease.socket);
        }
    }

    /// Without giving anything back.
    pub(super) fn into_lease(mut self) -> Option<Lease> {
        self.lease.take()
    }

    fn give_back(&self, lease: &Lease) {
        self.upstream.lock().give_back(lease.replica, None, false);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.give_back(&lease);
        }
    }
}
