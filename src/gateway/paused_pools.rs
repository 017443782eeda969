//! The pools of which this process begins no request, while its successor changes their release.
//!
//! Each process of an upgrade has its own routing table. But no client may get an older release after another
//! client has got the new one. So the old process begins no request of the pool while the new process
//! replaces its table. After that, the old process observes the pool itself.

use std::collections::BTreeMap;

use tokio::sync::OwnedMutexGuard;

use super::refresh::{Reason, refresh};
use super::state::CurrentState;
use super::virtual_host::Unservable;
use crate::error::Result;

/// The paused pools, each with the only right to refresh the pool.
#[derive(Debug, Default)]
pub(super) struct PausedPools(BTreeMap<String, OwnedMutexGuard<Unservable>>);

impl PausedPools {
    /// Begins no request of a pool from now on. New requests wait, as they do when no replica runs. The
    /// process that this one has itself replaced is paused in the same way.
    pub(super) async fn pause(&mut self, state: &CurrentState, pool: &str) -> Result<()> {
        if self.0.contains_key(pool) {
            return Ok(());
        }
        let Some(vhost) = state.get().hosts.of_pool(pool).cloned() else { return Ok(()) };
        if let Some(predecessor) = state.predecessor() {
            predecessor.pause(pool).await?;
        }
        let turn = vhost.refresh.turn().await;
        vhost.upstream.replace_endpoints(Vec::new());
        vhost.canary.end();
        self.0.insert(pool.to_owned(), turn);
        Ok(())
    }

    /// Observes the pool, and serves it again.
    pub(super) async fn unpause(&mut self, state: &CurrentState, pool: &str) -> Result<()> {
        let Some(turn) = self.0.remove(pool) else { return Ok(()) };
        drop(turn);
        if let Some(vhost) = state.get().hosts.of_pool(pool) {
            // An error is logged.
            let _ = refresh(vhost, Reason::Serve).await;
        }
        match state.predecessor() {
            Some(predecessor) => predecessor.unpause(pool).await,
            None => Ok(()),
        }
    }

    /// The same for all pools.
    pub(super) async fn unpause_all(&mut self, state: &CurrentState) {
        let pools: Vec<String> = self.0.keys().cloned().collect();
        for pool in pools {
            let _ = self.unpause(state, &pool).await;
        }
    }
}
