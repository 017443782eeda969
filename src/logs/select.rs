//! Which records are wanted.

use super::origin::{Origin, Writers};

/// The records that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Select {
    /// Of one pool. None: of all.
    pub pool: Option<String>,
    /// Of one replica.
    pub replica: Option<u32>,
}

impl Select {
    pub(super) fn has(&self, origin: &Origin) -> bool {
        let (pool, replica) = (origin.pool.as_deref(), origin.replica);
        let is_pool = self.pool.is_none() || pool.is_none() || self.pool.as_deref() == pool;
        is_pool && (self.replica.is_none() || self.replica == replica)
    }

    pub(super) fn has_file_of(&self, writers: &Writers) -> bool {
        let is_pool = |pool: &str| self.pool.as_deref().is_none_or(|it| it == pool);
        let is_replica = |replica| self.replica.is_none_or(|it| it == replica);
        writers.iter().any(|it| is_pool(&it.pool) && is_replica(it.replica()))
    }
}
