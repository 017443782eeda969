//! A canary by share: a generation without a public name that gets a share of the new visitors.
//!
//! A canary has endpoints of its own, beside those of the pool. So it may also serve the same release as
//! the pool. Its end is one step: its endpoints are removed, and the requests that wait for one of them are
//! routed again. Each observation of the pool reads the record of the canary ([`Record`]). So a gateway also
//! finds a canary that began before the gateway did.

mod keeper;
mod measure;
mod visit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::routing_table::ServedRelease;
use super::upstream::{EndpointSpec, Upstream};
use crate::canary::{Record, Sides};
use crate::config::Gateway;
use crate::control::{CanaryState, ReplicaState};
pub(super) use keeper::keep;
use measure::Measure;
pub(super) use visit::Visit;

/// The canary of a pool, if it has one now.
#[derive(Debug, Default)]
pub(super) struct Canary {
    live: ArcSwapOption<Live>,
    /// The endpoints of canaries that are over and may have requests left.
    past: Mutex<Vec<Arc<Upstream>>>,
    /// Notified when a canary begins.
    begun: Arc<Notify>,
}

/// A canary that gets visitors.
#[derive(Debug)]
struct Live {
    record: Record,
    expires: Instant,
    upstream: Arc<Upstream>,
    measures: Sides<Measure>,
    is_over: AtomicBool,
}

impl Live {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire) || self.expires <= Instant::now()
    }
}

impl Canary {
    /// Begins a canary, or updates its endpoint. None: ends the canary. Calls must not overlap.
    pub(super) fn apply(&self, settings: &Gateway, canary: Option<(Record, EndpointSpec)>) {
        let Some((record, endpoint)) = canary else { return self.end() };
        let before = self.live.load_full().filter(|live| live.record == record);
        if let Some(live) = before {
            live.upstream.configure(settings);
            live.upstream.replace_endpoints(vec![endpoint]);
            return;
        }
        self.end();
        let Some(left) = record.left() else { return };
        let upstream = Upstream::new(settings);
        upstream.replace_endpoints(vec![endpoint]);
        let (expires, is_over) = (Instant::now() + left, AtomicBool::new(false));
        let measures = Sides::default();
        let live = Live { record, expires, upstream, measures, is_over };
        self.live.store(Some(Arc::new(live)));
        self.begun.notify_one();
    }

    /// Ends the canary. After the return, no request is sent to the canary any more.
    pub(super) fn end(&self) {
        let Some(live) = self.live.swap(None) else { return };
        // Before its endpoints are removed: a request that is routed again must find the canary over.
        live.is_over.store(true, Ordering::Release);
        live.upstream.replace_endpoints(Vec::new());
        self.past().push(Arc::clone(&live.upstream));
    }

    /// The release that the canary serves.
    pub(super) fn release(&self) -> Option<Arc<ServedRelease>> {
        self.live()?.upstream.release()
    }

    /// The state of the canary, and the states of its endpoints. Commands see these endpoints as endpoints
    /// that get no requests of the pool.
    pub(super) fn show(&self) -> (Option<CanaryState>, Vec<ReplicaState>) {
        let live = self.live();
        let past = self.past();
        let all = live.iter().map(|live| &live.upstream).chain(past.iter());
        let endpoints = all.flat_map(|upstream| upstream.show().0);
        let endpoints = endpoints.map(|it| ReplicaState { serves: false, ..it }).collect();
        let state = live.as_deref().map(|live| CanaryState {
            pid: std::process::id(),
            record: live.record.clone(),
            counts: Sides { new: live.measures.new.counts(), old: live.measures.old.counts() },
        });
        (state, endpoints)
    }

    /// Closes connections that have been idle for too long, and drops the endpoints of past canaries that
    /// have no requests left. To be called regularly.
    pub(super) fn close_stale(&self) {
        self.past().retain(|upstream| !upstream.show().0.is_empty());
        if let Some(live) = &*self.live.load() {
            live.upstream.close_stale();
        }
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full().filter(|live| !live.is_over())
    }

    fn past(&self) -> MutexGuard<'_, Vec<Arc<Upstream>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // Wakes the keeper, which then ends.
        self.begun.notify_one();
    }
}
