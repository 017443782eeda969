//! `all | single POOL [N]`

use std::sync::Arc;

use clap::Subcommand;

use crate::error::{Error, Result};
use crate::pool::{self, Pool};
use crate::root::Root;

/// The scope in a usage line.
pub(super) const SCOPE: &str = "all | single POOL [N]";
/// The scope in the usage line of a command that applies to whole pools.
pub(super) const POOL_SCOPE: &str = "all | single POOL";
/// The heading of the scopes in `--help`.
pub(super) const SCOPE_HEADING: &str = "Scope";

/// The pools and replicas that a command applies to; all of them by default.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Scope {
    /// All pools (the default)
    All,
    /// One pool, or one replica of it
    Single {
        /// The name of the pool
        pool: String,
        /// The number of the replica, from 1
        replica: Option<u32>,
    },
}

/// The pools that a command applies to; all of them by default.
#[derive(Debug, Subcommand)]
pub(super) enum PoolScope {
    /// All pools (the default)
    All,
    /// One pool
    Single {
        /// The name of the pool
        pool: String,
    },
}

impl PoolScope {
    /// The names of the selected pools.
    pub(super) fn names(self, root: &Root) -> Result<Vec<String>> {
        match self {
            Self::All => Scope::All.names(root),
            Self::Single { pool } => Ok(vec![pool]),
        }
    }
}

/// A pool and its selected replicas.
pub(super) struct Selected {
    pub(super) pool: Arc<Pool>,
    pub(super) replicas: Vec<u32>,
}

impl Scope {
    /// The names of the selected pools.
    pub(super) fn names(&self, root: &Root) -> Result<Vec<String>> {
        match self {
            Self::All => pool::names(root),
            Self::Single { pool, .. } => Ok(vec![pool.clone()]),
        }
    }

    /// Reads one of the selected pools.
    pub(super) fn select(&self, root: &Root, name: &str) -> Result<Selected> {
        let pool = Arc::new(pool::load(root, name)?);
        let replicas = match self {
            Self::Single { replica: Some(replica), .. } => {
                if !(1..=pool.replica_count).contains(replica) {
                    let message = format!("the pool \"{name}\" has no replica {replica}");
                    let hint = format!("its replicas are 1 to {}", pool.replica_count);
                    return Err(Error::config(message).hint(hint));
                }
                vec![*replica]
            }
            _ => pool.replicas().collect(),
        };
        Ok(Selected { pool, replicas })
    }

    /// Reads the selected pools one by one. With `all`, a pool that cannot be read is an error in
    /// the list; with `single`, it is the error of the whole call.
    pub(super) fn select_each(&self, root: &Root) -> Result<Vec<(String, Result<Selected>)>> {
        let names = self.names(root)?;
        let all = names.into_iter().map(|name| {
            let selected = self.select(root, &name);
            (name, selected)
        });
        match self {
            Self::All => Ok(all.collect()),
            Self::Single { .. } => all.map(|(name, selected)| Ok((name, Ok(selected?)))).collect(),
        }
    }
}
