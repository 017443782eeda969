//! The task that ends a canary whose command has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Canary;
use crate::canary::Record;
use crate::error::Result;
use crate::gateway::blocking::run_blocking;

/// How often the record is looked at: the kernel has no event for the end of a lock.
const LOOK: Duration = Duration::from_millis(250);

/// Keeps the canary of a pool. `read`: reads the record that is in force; it may block. `refresh`: called
/// when the record of the present canary is not in force any more, or cannot be read, so that the pool is
/// observed again.
pub(in crate::gateway) fn keep<R, F>(
    canary: &Arc<Canary>,
    read: R,
    refresh: F,
) -> impl Future<Output = ()> + Send + use<R, F>
where
    R: Fn() -> Result<Option<Record>> + Clone + Send + 'static,
    F: Fn() + Send + 'static,
{
    let begun = Arc::clone(&canary.begun);
    let canary = Arc::downgrade(canary);
    async move {
        while let Some(live) = canary.upgrade().map(|canary| canary.live.load_full()) {
            let Some(live) = live else {
                begun.notified().await;
                continue;
            };
            sleep(LOOK).await;
            let record = run_blocking(read.clone()).await;
            let is_in_force = matches!(record, Ok(Ok(Some(record))) if record.id == live.record.id);
            if !is_in_force {
                refresh();
            }
        }
    }
}
