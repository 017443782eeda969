//! Counts the requests of one side, and the times until the heads of their responses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::canary::Counts;

/// A request that has waited this long for its response counts already, with the time so far: otherwise a
/// release that hangs would have no figures.
const LATE: Duration = Duration::from_secs(1);

/// The requests of one side.
#[derive(Debug, Default)]
pub(super) struct Measure(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    /// The requests without a response, with their beginnings.
    open: BTreeMap<u64, Instant>,
    next: u64,
}

/// A request that has no response yet. Dropping it without a response means that the client has gone away,
/// or that the request is sent again.
#[derive(Debug)]
pub(in crate::gateway) struct Open {
    measure: Arc<Mutex<Inner>>,
    number: u64,
}

impl Measure {
    /// Begins to measure a request.
    pub(super) fn begin(&self) -> Open {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, begun: Instant) -> Open {
        let mut inner = lock(&self.0);
        let number = inner.next;
        inner.next += 1;
        inner.open.insert(number, begun);
        Open { measure: Arc::clone(&self.0), number }
    }

    /// What was counted until now.
    pub(super) fn counts(&self) -> Counts {
        let inner = lock(&self.0);
        let mut counts = inner.counts.clone();
        let times = inner.open.values().map(Instant::elapsed);
        times.filter(|time| *time >= LATE).for_each(|time| counts.add(time, false));
        counts
    }
}

impl Open {
    /// Counts the request: the head of its response has arrived, or will never come.
    pub(in crate::gateway) fn end(self, is_error: bool) {
        self.close(|time| time.map(|time| (time, is_error)));
    }

    fn close(&self, result: impl FnOnce(Option<Duration>) -> Option<(Duration, bool)>) {
        let mut inner = lock(&self.measure);
        let time = inner.open.remove(&self.number).map(|begun| begun.elapsed());
        if let Some((time, is_error)) = result(time) {
            inner.counts.add(time, is_error);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // After `end` there is nothing left to close.
        self.close(|time| time.filter(|time| *time >= LATE).map(|time| (time, false)));
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_without_a_response_counts_once_it_is_late() {
        let measure = Measure::default();
        measure.begin().end(false);
        measure.begin().end(true);
        let young = measure.begin();
        let seen = |counts: Counts| {
            (counts.requests(), counts.errors, counts.slower_than(Duration::from_millis(900)))
        };
        assert_eq!(seen(measure.counts()), (2, 1, 0));
        drop(young);
        assert_eq!(seen(measure.counts()), (2, 1, 0));
        let hanging = measure.begin_at(Instant::now().checked_sub(LATE).unwrap());
        assert_eq!(seen(measure.counts()), (3, 1, 1));
        drop(hanging);
        assert_eq!(seen(measure.counts()), (3, 1, 1));
    }
}
