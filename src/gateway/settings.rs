//! What the operator's files say at one moment, and the sites that come of it.
//!
//! A pool whose files are broken does not concern the others: it keeps the settings that it had, or
//! its hosts get 503.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::aside::aside;
use super::site::Site;
use super::sites::{Broken, Sites};
use super::sync::{Reason, sync};
use crate::config::{EVERY_HOST, Global, salvaged_hosts};
use crate::error::{Error, Result};
use crate::pool::{self, Pool};
use crate::root::Root;

/// How many pools are looked at at a time.
const AT_ONCE: usize = 16;
/// How long a look may take: the others do not wait for a filesystem that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the files say.
#[derive(Debug)]
pub(super) struct Settings {
    /// What all pools share.
    pub global: Global,
    pools: Vec<Read>,
}

/// A pool's files.
#[derive(Debug)]
struct Read {
    name: String,
    pool: Result<Pool>,
    /// Where there is an error: its hosts all the same, if they can be read.
    hosts: Option<Vec<String>>,
}

impl Settings {
    /// Reads all files. An error is that of the global one, or concerns all pools.
    pub(super) async fn read(root: &Root) -> Result<Self> {
        let root = root.clone();
        aside(move || {
            let global = Global::read(&root)?;
            global.listens()?;
            let pools = pool::names(&root)?.into_iter().map(|name| read(&root, name));
            Ok(Self { pools: pools.collect(), global })
        })
        .await?
    }

    /// The sites of those pools that have a `[gateway]`, after a first look at what serves. What is
    /// wrong with a pool is logged; an error where nothing is left. `before`: the sites of the
    /// settings from before.
    pub(super) async fn sites(self, before: Option<&Sites>) -> Result<(Global, Sites)> {
        let (mut sites, mut broken, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for Read { name, pool, hosts } in self.pools {
            let old = before.and_then(|before| before.of_pool(&name));
            match pool.and_then(|pool| Site::of(pool, old.map(|old| &**old))) {
                Ok(None) => {}
                Ok(Some(site)) => sites.push((site, old.cloned())),
                Err(error) => {
                    let line = report(&name, &error, old.is_some(), hosts.as_deref());
                    errors.push((error, line));
                    match old {
                        Some(old) => sites.push((Arc::clone(old), Some(Arc::clone(old)))),
                        None => broken.push(Broken { name, hosts: hosts.unwrap_or_default() }),
                    }
                }
            }
        }
        if sites.is_empty() {
            return Err(errors.into_iter().next().map_or_else(nothing, |(error, _)| error));
        }
        for (_, line) in errors {
            tracing::error!("{line}");
        }
        let (sites, disputes) = Sites::new(settle(sites).await, &broken, before);
        for dispute in disputes {
            let hint = "write the hosts of each into its [gateway]: hosts = [\"example.com\"]";
            tracing::error!("{dispute}; help: {hint}");
        }
        Ok((self.global, sites))
    }
}

fn read(root: &Root, name: String) -> Read {
    let pool = pool::load(root, &name);
    let file = root.pools_dir().join(&name).join(pool::FILE_NAME);
    let hosts = if pool.is_err() { salvaged_hosts(&file) } else { None };
    Read { name, pool, hosts }
}

fn nothing() -> Error {
    Error::config("no pool has a [gateway], so there is nothing to serve")
        .hint("write [gateway] into the pools-manager.toml of a pool; it needs no keys")
}

/// What is wrong with a pool's files, and what that means for its visitors.
fn report(name: &str, error: &Error, is_kept: bool, hosts: Option<&[String]>) -> String {
    let error = error.in_one_line();
    let so = match hosts {
        _ if is_kept => "it keeps the configuration from before".to_owned(),
        None => "its hosts cannot be told from the file, and are answered as if it were not there"
            .to_owned(),
        Some([]) => "it has no [gateway]".to_owned(),
        Some([every]) if every == EVERY_HOST => "hosts of no other pool get 503".to_owned(),
        Some(hosts) => format!("its hosts get 503: {}", hosts.join(", ")),
    };
    format!("pool \"{name}\": {so}: {error}")
}

/// Looks at what serves of each site. One with new settings takes the place of the old one if it can
/// be served, or the old one could not be either.
async fn settle(sites: Vec<(Arc<Site>, Option<Arc<Site>>)>) -> Vec<Arc<Site>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut looks = JoinSet::new();
    for (at, (site, old)) in sites.into_iter().enumerate() {
        let places = Arc::clone(&places);
        looks.spawn(async move {
            let _place = places.acquire().await;
            (at, settle_one(site, old).await)
        });
    }
    let mut settled = looks.join_all().await;
    settled.sort_by_key(|(at, _)| *at);
    settled.into_iter().map(|(_, site)| site).collect()
}

async fn settle_one(site: Arc<Site>, old: Option<Arc<Site>>) -> Arc<Site> {
    let looked = timeout(PATIENCE, sync(&site, Reason::Try)).await.unwrap_or_else(|_| {
        Err(Error::failed(format!("looking at what serves takes longer than {PATIENCE:?}")))
    });
    match (looked, old) {
        (Ok(()), _) => {}
        (Err(error), Some(old)) if !old.is_broken() => {
            let (name, error) = (&site.pool.name, error.in_one_line());
            tracing::error!("pool \"{name}\": it keeps the configuration from before: {error}");
            return old;
        }
        (Err(error), _) => site.watch.is_wrong(&site.pool.name, &error),
    }
    site.upstream.configure(&site.settings);
    site
}
