//! The part of an observation of a pool that the gateway needs.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canary::Record;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::rollout::{Observation, Observed, SpecQuery, observe};
use crate::runtime::{Generation, Running};

/// The replicas of a pool that get requests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The generations to which public names lead.
    pub published: Vec<Published>,
    /// The public socket names of all generations.
    pub names: Vec<PathBuf>,
    /// The canary by share that is in force. Error: its record cannot be read.
    pub canary: std::result::Result<Option<SeenCanary>, String>,
}

/// A canary by share: its generation runs and has no public name.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SeenCanary {
    /// The record of the canary.
    pub record: Record,
    /// Its generation.
    pub published: Published,
}

/// A generation that gets requests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Published {
    /// The generation.
    pub generation: Generation,
    /// The release that is mounted for it, wherever the symlink points now. Error: no release is mounted.
    pub release: std::result::Result<Release, String>,
}

impl Seen {
    /// Observes a pool. Blocks, as the observation does.
    pub(super) fn of(pool: &Arc<Pool>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::failed(format!("cannot observe the pool: {error}")))?;
        let nothing = async { Ok(Vec::new()) };
        let observation = runtime.block_on(observe(pool, nothing, SpecQuery::default()))?;
        let published = observation.replicas.iter().filter_map(published);
        let names = observation.generations().map(|generation| generation.public.clone());
        Ok(Self {
            published: published.map(|running| Published::of(pool, running)).collect(),
            names: names.collect(),
            canary: SeenCanary::of(pool, &observation).map_err(|error| error.in_one_line()),
        })
    }
}

impl SeenCanary {
    fn of(pool: &Pool, observation: &Observation) -> Result<Option<Self>> {
        let Some(record) = Record::in_force(&pool.canary_file())? else { return Ok(None) };
        let id = record.generation();
        let is_published =
            observation.replica(id.replica).is_some_and(|it| it.published == Some(id.generation));
        let running = observation.running(id).filter(|it| it.reachable && !is_published);
        Ok(running.map(|running| Self { record, published: Published::of(pool, running) }))
    }
}

fn published(observed: &Observed) -> Option<&Running> {
    observed.published.and(observed.current())
}

impl Published {
    fn of(pool: &Pool, running: &Running) -> Self {
        let generation = running.generation.clone();
        let pinned = pool.settings.current_dir().and_then(|dir| running.pinned(dir));
        let release = match pinned {
            Some(Pinned::Release(release)) => Ok(release),
            other => generation
                .release
                .clone()
                .ok_or_else(|| format!("{generation} has no release mounted: {other:?}")),
        };
        Self { generation, release }
    }
}
