//! The pass of a request that has gone through the gate.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use super::Gate;

/// The pass of a request. A request that has waited is under way as long as its pass exists.
#[derive(Debug)]
pub(in crate::gateway) struct Pass {
    /// None: the request did not wait.
    gate: Option<Arc<Gate>>,
    /// No other request is let through before this one has got its place.
    has_turn: bool,
}

impl Pass {
    /// The pass of a request that did not wait.
    pub(super) fn free() -> Self {
        Self { gate: None, has_turn: false }
    }

    /// The pass of a request that has waited.
    pub(super) fn new(gate: &Arc<Gate>) -> Self {
        Self { gate: Some(Arc::clone(gate)), has_turn: true }
    }

    /// Drops the pass, and leaves the gate unchanged.
    pub(super) fn forget(mut self) {
        self.gate = None;
    }

    /// Does the work of the request. After the first step of the work, lets the next request through. In
    /// this step, a request without a body gets its place in the queue of the pool. A request with a body
    /// begins to wait for its client: no other request should wait for that client.
    pub(in crate::gateway) async fn cover<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            self.end_turn();
            polled
        })
        .await
    }

    fn end_turn(&mut self) {
        if std::mem::take(&mut self.has_turn)
            && let Some(gate) = &self.gate
        {
            gate.turn_over();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.leave(self.has_turn);
            gate.advance();
        }
    }
}
