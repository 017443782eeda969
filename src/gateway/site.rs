//! A pool as the gateway serves it, and which pool a host is.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::upstream::Upstream;
use crate::config;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// A pool that the gateway serves.
#[derive(Debug)]
pub(super) struct Site {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its `[gateway]`.
    pub settings: config::Gateway,
    /// Its replicas.
    pub upstream: Arc<Upstream>,
    /// The document root as PHP sees it.
    pub document_root: String,
    /// The directory of the release as PHP sees it.
    pub release_dir: String,
    /// One at a time looks at what serves.
    pub turn: tokio::sync::Mutex<()>,
    doubt: Notify,
}

impl Site {
    /// A pool that has a `[gateway]`; None: it is not the gateway's.
    pub(super) fn of(pool: &Arc<Pool>) -> Result<Option<Arc<Self>>> {
        let Some(settings) = pool.settings.gateway.clone() else { return Ok(None) };
        let dir = match &pool.settings.php.pinning {
            Some((_, current_dir)) => current_dir,
            None => pool.root.path(),
        };
        let Some(release_dir) = dir.to_str().map(str::to_owned) else {
            return Err(Error::config(format!("the path {} is not UTF-8", dir.display())));
        };
        let document_root = match settings.document_root.get_ref().as_str() {
            "" => release_dir.clone(),
            below => format!("{release_dir}/{below}"),
        };
        let upstream = Upstream::new(&settings);
        Ok(Some(Arc::new(Self {
            pool: Arc::clone(pool),
            settings,
            upstream,
            document_root,
            release_dir,
            turn: tokio::sync::Mutex::default(),
            doubt: Notify::new(),
        })))
    }

    /// A replica could not be connected to: what serves is to be looked at again.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits until there is reason to look again at what serves.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }
}

/// All pools that the gateway serves, by their hosts.
#[derive(Debug, Default)]
pub(super) struct Sites {
    all: Vec<Arc<Site>>,
    exact: HashMap<String, Arc<Site>>,
    /// By what follows the `*` of `*.example.com`.
    below: HashMap<String, Arc<Site>>,
    every: Option<Arc<Site>>,
}

impl Sites {
    /// Of these pools, those that have a `[gateway]`. No host may have two.
    pub(super) fn of(pools: &[Arc<Pool>]) -> Result<Self> {
        let mut sites = Self::default();
        for pool in pools {
            let Some(site) = Site::of(pool)? else { continue };
            sites.all.push(Arc::clone(&site));
            let hosts = site.settings.hosts.get_ref();
            if hosts.is_empty()
                && let Some(other) = sites.every.replace(Arc::clone(&site))
            {
                return Err(both(&other, &site, "every host"));
            }
            for host in hosts {
                let other = match host.strip_prefix('*') {
                    Some(below) => sites.below.insert(below.to_owned(), Arc::clone(&site)),
                    None => sites.exact.insert(host.clone(), Arc::clone(&site)),
                };
                if let Some(other) = other {
                    return Err(both(&other, &site, host));
                }
            }
        }
        if sites.all.is_empty() {
            return Err(Error::config("no pool has a [gateway], so there is nothing to serve")
                .hint("write [gateway] into the pools-manager.toml of a pool; it needs no keys"));
        }
        Ok(sites)
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<Site>] {
        &self.all
    }

    /// The site of a host, in small letters and without a port.
    pub(super) fn find(&self, host: &str) -> Option<&Arc<Site>> {
        if let Some(site) = self.exact.get(host) {
            return Some(site);
        }
        let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let below = dots.map(|(at, _)| &host[at..]).find_map(|below| self.below.get(below));
        below.or(self.every.as_ref())
    }

    /// The site of a pool.
    pub(super) fn of_pool(&self, name: &str) -> Option<&Arc<Site>> {
        self.all.iter().find(|site| site.pool.name == name)
    }
}

fn both(one: &Site, other: &Site, host: &str) -> Error {
    let (one, other) = (&one.pool.name, &other.pool.name);
    Error::config(format!("the pools \"{one}\" and \"{other}\" both want {host}"))
        .hint("write the hosts of each into its [gateway]: hosts = [\"example.com\"]")
}
