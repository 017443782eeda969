//! The requests that wait for an endpoint: one queue for each release, so that the next request to
//! serve is always the first of a queue.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::connection::Connection;
use crate::release::Release;

/// Identifies a request in the queues. Later requests have larger numbers.
pub(super) type Ticket = u64;

/// A place on an endpoint. It counts as in flight until it is given back to the scheduler.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) endpoint: u64,
    pub(super) socket: Arc<Path>,
    /// php-fpm is asked to keep the connection open after the response.
    pub(super) keep_alive: bool,
    /// An open connection for the request.
    pub(super) reused: Option<Reused>,
}

/// A connection that has served requests before. php-fpm may have closed it meanwhile.
#[derive(Debug)]
pub(super) struct Reused {
    pub(super) connection: Connection,
    /// How many bytes of the request have been sent by the scheduler; None: it has sent nothing.
    pub(super) sent: Option<usize>,
}

impl Assignment {
    /// Sends the request at once if there is an open connection. The child of this connection has just
    /// become free. Without the request it would go to sleep before the task of the request runs.
    pub(super) fn send(&mut self, request: &[u8]) {
        self.reused = self.reused.take().and_then(|reused| {
            let sent = reused.connection.send(request).ok()?;
            Some(Reused { sent: Some(sent), ..reused })
        });
    }
}

/// The queues of all releases.
#[derive(Debug, Default)]
pub(super) struct Queues(Vec<Queue>);

/// The requests that wait for one release, the oldest first.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) release: Release,
    pub(super) waiting: VecDeque<Waiting>,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    /// The encoded request, if it may be sent on an open connection.
    pub(super) request: Option<Vec<u8>>,
    /// Dropped when the release is not served any more.
    pub(super) assigned: oneshot::Sender<Assignment>,
}

impl Queues {
    pub(super) fn push(&mut self, release: &Release, waiting: Waiting) {
        if let Some(queue) = self.0.iter_mut().find(|queue| queue.release == *release) {
            queue.waiting.push_back(waiting);
        } else {
            let (release, waiting) = (release.clone(), VecDeque::from([waiting]));
            self.0.push(Queue { release, waiting });
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        for Queue { waiting, .. } in &mut self.0 {
            if let Ok(at) = waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
                waiting.remove(at);
                return;
            }
        }
    }

    /// Whether a request waits for this release.
    pub(super) fn has(&self, release: &Release) -> bool {
        self.0.iter().any(|queue| !queue.waiting.is_empty() && queue.release == *release)
    }

    /// The number of requests that wait.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|queue| queue.waiting.len()).sum()
    }

    /// Drops the queues of releases for which `is_served` is false, with the requests in them.
    pub(super) fn retain(&mut self, is_served: impl Fn(&Release) -> bool) {
        self.0.retain(|queue| is_served(&queue.release));
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.iter_mut()
    }
}
