//! `check`: verifies a root and its pools without changing anything.
//!
//! It takes no lock, writes no file, only reads the balancer, and runs php-fpm only to print
//! (`-tt`, `-i`). First it reads everything, in parallel where possible; then each topic checks the
//! results. A failed read does not prevent the other checks.

mod between;
mod configuration;
mod control_groups;
mod directory;
mod hooks;
mod links;
mod monitor;
mod pinned_links;
mod reachable;
mod release;
mod replicas;
mod scripts;
mod serve;
mod sockets;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;

pub use between::compare;

use crate::backend::Behind;
use crate::error::Error;
use crate::finding::{Checked, Finding, Level, Topic};
use crate::lock;
use crate::pool::Pool;
use crate::rollout::{look, refusals};
use crate::root::Root;
use crate::runtime::{self, Snapshot};

/// The result of a root's own checks.
#[derive(Debug, Serialize)]
pub struct RootChecked {
    /// The root.
    pub root: PathBuf,
    /// Whether there is no error.
    pub ok: bool,
    /// What was checked.
    pub topics: Vec<Checked>,
}

/// A replica and its public socket name.
type Listens = (u32, PathBuf);

/// The result of a pool's checks.
#[derive(Debug, Serialize)]
pub struct PoolChecked {
    /// Its name.
    pub pool: String,
    /// Whether there is no error.
    pub ok: bool,
    /// What was looked at.
    pub topics: Vec<Checked>,
    #[serde(skip)]
    listens: Vec<Listens>,
}

/// Checks what all pools of the root share, and that commands can take the locks of these pools.
pub async fn check_root(root: &Root, pools: &[String]) -> RootChecked {
    let topics = vec![directory::check_pid_dir(root, pools), serve::check(root).await];
    RootChecked { root: root.path().to_owned(), ok: is_ok(&topics), topics }
}

/// The result for a pool whose configuration cannot be read: nothing else of the pool is known.
pub fn broken_pool(name: &str, error: Error) -> PoolChecked {
    let topics = vec![configuration::broken(error)];
    PoolChecked { pool: name.to_owned(), ok: false, topics, listens: Vec::new() }
}

/// Checks a pool. `turns` limits how many pools run php-fpm at once.
pub async fn check_pool(pool: &Arc<Pool>, turns: &Semaphore) -> PoolChecked {
    let holder = lock::holder(&pool.lock_file());
    let current = release::current(pool);
    let wanted = current.as_ref().and_then(|it| it.release.clone());
    // If the release cannot be mounted, php-fpm runs without it.
    let is_refused = current.as_ref().is_some_and(|it| !it.refusals.is_empty());
    let pinnable = wanted.clone().filter(|_| !is_refused);
    let backend = pool.backend();
    let inspect = async {
        match &backend {
            Ok(backend) => Ok(backend.inspect().await),
            Err(error) => Err(error.clone()),
        }
    };
    let (mut runtime, inspected) =
        tokio::join!(runtime::inspect(pool, pinnable.clone(), turns), inspect);
    let specs = runtime.specs;
    for (replica, spec) in &specs {
        let refused = refusals::of_server(pool, *replica, spec, pinnable.as_ref());
        runtime.checked.add(refused.into_iter().map(Finding::from));
    }
    let snapshot = Snapshot::shared(&pool.root).await;
    let observed = snapshot
        .and_then(|it| look(pool, specs.clone(), Vec::new(), &it.records(pool), &it.unix_sockets));
    // A command may have begun meanwhile. Then the observation may show a change that is half done.
    let holder = holder.or_else(|| lock::holder(&pool.lock_file()));
    let (observation, trouble) = match observed {
        Ok(observation) => (Some(observation), None),
        Err(error) => (None, Some(error.into())),
    };
    let seen = observation.as_ref().map(|it| replicas::see(pool, it)).unwrap_or_default();
    let behind = |replica| Behind {
        replica,
        public: specs.iter().find(|(n, _)| *n == replica).map(|(_, it)| it.public()),
        published: seen
            .iter()
            .find(|it| it.replica == replica)
            .and_then(replicas::Seen::socket)
            .filter(|_| holder.is_none()),
    };
    let behind: Vec<_> = pool.replicas().map(behind).collect();
    let mut topics = vec![
        configuration::check(pool),
        runtime.checked,
        release::check(pool, current.as_ref(), runtime.account.as_ref(), backend.as_ref().ok()),
        sockets::check(pool, &specs, observation.as_ref(), trouble),
        match inspected {
            Ok(inspected) => inspected.check(pool.settings.strategy(), &behind),
            Err(error) => Checked::new(Topic::Balancer, [], [error.into()]),
        },
        monitor::check(pool, seen.iter().any(replicas::Seen::is_published)).await,
    ];
    topics.extend(hooks::check(pool));
    if let Some(observation) = &observation {
        let mut replicas = replicas::check(&seen, wanted.as_ref(), holder.as_ref());
        replicas.add(control_groups::check(pool, observation));
        let beside = current.as_ref().and_then(|it| it.beside.as_ref());
        if let Some(wanted) = wanted.as_ref().zip(beside).filter(|_| holder.is_none()) {
            replicas.add(scripts::check(pool, observation, wanted).await);
        }
        topics.push(replicas);
    }
    let listens = specs.iter().map(|(replica, it)| (*replica, it.public().to_owned())).collect();
    PoolChecked { pool: pool.name.clone(), ok: is_ok(&topics), topics, listens }
}

fn is_ok(topics: &[Checked]) -> bool {
    topics.iter().all(|checked| checked.level < Level::Error)
}
