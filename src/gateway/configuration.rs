//! Reads the operator's files, and builds the virtual hosts.
//!
//! An error in the files of one pool does not affect the others: that pool keeps its previous
//! configuration, or its hosts get 503.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::blocking::run_blocking;
use super::host_map::{Broken, HostMap};
use super::refresh::{Reason, refresh};
use super::virtual_host::VirtualHost;
use crate::config::{EVERY_HOST, Global, salvaged_hosts};
use crate::error::{Error, Result};
use crate::pool::{self, Pool};
use crate::root::Root;

/// The number of pools that are observed at the same time.
const CONCURRENT: usize = 16;
/// The time limit for the observation of a pool: a file system that does not respond must not delay the
/// other pools.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The help for a host that several pools configure.
pub(super) const OTHER_HOSTS: &str =
    "configure other hosts in the [gateway] of each: hosts = [\"example.com\"]";

/// The content of all files.
#[derive(Debug)]
pub(super) struct Configuration {
    /// The global settings.
    pub global: Global,
    pools: Vec<PoolFiles>,
}

/// The files of a pool.
#[derive(Debug)]
struct PoolFiles {
    name: String,
    pool: Result<Pool>,
    /// If `pool` is an error: the hosts of the pool, if they can be read nevertheless.
    hosts: Option<Vec<String>>,
}

impl Configuration {
    /// Reads all files. Error: the global file is invalid, or the pools cannot be listed.
    pub(super) async fn read(root: &Root) -> Result<Self> {
        let root = root.clone();
        run_blocking(move || {
            let global = Global::read(&root)?;
            global.listens()?;
            let pools = pool::names(&root)?.into_iter().map(|name| read(&root, name));
            Ok(Self { pools: pools.collect(), global })
        })
        .await?
    }

    /// Builds the virtual hosts of the pools that have a `[gateway]`, and refreshes their endpoints.
    /// Logs the errors of single pools. Error: there is no virtual host. `before`: the virtual hosts of the
    /// previous configuration.
    pub(super) async fn into_hosts(self, before: Option<&HostMap>) -> Result<(Global, HostMap)> {
        let (mut vhosts, mut broken, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for PoolFiles { name, pool, hosts } in self.pools {
            let old = before.and_then(|before| before.of_pool(&name));
            match pool.and_then(|pool| VirtualHost::of(pool, old.map(|old| &**old))) {
                Ok(None) => {}
                Ok(Some(vhost)) => vhosts.push((vhost, old.cloned())),
                Err(error) => {
                    let line = report(&error, old.is_some(), hosts.as_deref());
                    errors.push((error, name.clone(), line));
                    match old {
                        Some(old) => vhosts.push((Arc::clone(old), Some(Arc::clone(old)))),
                        None => broken.push(Broken { name, hosts: hosts.unwrap_or_default() }),
                    }
                }
            }
        }
        if vhosts.is_empty() {
            return Err(errors
                .into_iter()
                .next()
                .map_or_else(nothing_to_serve, |(error, ..)| error));
        }
        for (_, name, line) in errors {
            tracing::error!(pool = %name, "{line}");
        }
        let (hosts, conflicts) = HostMap::new(choose(vhosts).await, &broken, before);
        for conflict in conflicts {
            tracing::error!("{conflict}; help: {OTHER_HOSTS}");
        }
        Ok((self.global, hosts))
    }
}

fn read(root: &Root, name: String) -> PoolFiles {
    let pool = pool::load(root, &name);
    let file = root.pools_dir().join(&name).join(pool::FILE_NAME);
    let hosts = if pool.is_err() { salvaged_hosts(&file) } else { None };
    PoolFiles { name, pool, hosts }
}

/// The error of a gateway without a pool.
pub(super) fn nothing_to_serve() -> Error {
    Error::config("no pool has a [gateway], so there is nothing to serve")
        .hint("add [gateway] to the pools-manager.toml of a pool; it needs no keys")
}

/// The log line for an error in the files of a pool, with its effect on requests.
fn report(error: &Error, is_kept: bool, hosts: Option<&[String]>) -> String {
    let error = error.in_one_line();
    let effect = match hosts {
        _ if is_kept => "the previous configuration stays in use".to_owned(),
        None => "its hosts cannot be read from the file, so requests are routed as if the pool did not exist"
            .to_owned(),
        Some([]) => "it has no [gateway]".to_owned(),
        Some([every]) if every == EVERY_HOST => "hosts that no other pool has get 503".to_owned(),
        Some(hosts) => format!("its hosts get 503: {}", hosts.join(", ")),
    };
    format!("{effect}: {error}")
}

/// Refreshes the endpoints of each virtual host. The new virtual host replaces the old one if the new one
/// can be served, or if the old one could not be served either.
async fn choose(
    vhosts: Vec<(Arc<VirtualHost>, Option<Arc<VirtualHost>>)>,
) -> Vec<Arc<VirtualHost>> {
    let places = Arc::new(Semaphore::new(CONCURRENT));
    let mut refreshes = JoinSet::new();
    for (at, (new, old)) in vhosts.into_iter().enumerate() {
        let places = Arc::clone(&places);
        refreshes.spawn(async move {
            let _place = places.acquire().await;
            (at, choose_one(new, old).await)
        });
    }
    let mut chosen = refreshes.join_all().await;
    chosen.sort_by_key(|(at, _)| *at);
    chosen.into_iter().map(|(_, vhost)| vhost).collect()
}

async fn choose_one(new: Arc<VirtualHost>, old: Option<Arc<VirtualHost>>) -> Arc<VirtualHost> {
    let refreshed =
        timeout(OBSERVATION_TIMEOUT, refresh(&new, Reason::Try)).await.unwrap_or_else(|_| {
            Err(Error::failed(format!("the observation takes longer than {OBSERVATION_TIMEOUT:?}")))
        });
    match (refreshed, old) {
        (Ok(()), _) => {}
        (Err(error), Some(old)) if !old.is_broken() => {
            let (name, error) = (&new.pool.name, error.in_one_line());
            tracing::error!(pool = %name, "the previous configuration stays in use: {error}");
            return old;
        }
        (Err(error), _) => new.refresh.failed(&new.pool.name, &error),
    }
    new.upstream.configure(&new.settings);
    new.gate.configure(new.settings.hold_queue);
    new
}
