//! The requests that wait for a slot: one queue for each release, so that whoever looks for the next
//! one looks at the first one only.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Upstream;
use super::slot::Slot;
use crate::release::Release;

/// A number that tells the requests in the queues apart; they grow.
pub(super) type Ticket = u64;

/// All queues.
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
    pub(super) upstream: Arc<Upstream>,
    /// What may be sent on a connection that is open already; None: nothing may.
    pub(super) request: Option<Vec<u8>>,
    /// Dropped when what it waits for has gone.
    pub(super) turn: oneshot::Sender<Slot>,
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

    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|queue| queue.waiting.len()).sum()
    }

    /// Drops the queues of releases for which `is_offered` is false, with all that wait in them.
    pub(super) fn retain(&mut self, is_offered: impl Fn(&Release) -> bool) {
        self.0.retain(|queue| is_offered(&queue.release));
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.iter_mut()
    }
}
