//! Which pool a host belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::site::Site;
use crate::config::EVERY_HOST;

/// All pools that the gateway serves, by their hosts.
#[derive(Debug, Default)]
pub(super) struct Sites {
    all: Vec<Arc<Site>>,
    exact: HashMap<String, Owner>,
    /// By what follows the `*` of `*.example.com`.
    below: HashMap<String, Owner>,
    every: Option<Owner>,
}

/// What a host belongs to.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// A pool.
    Site(Arc<Site>),
    /// A pool that cannot be served; why.
    Broken(Arc<str>),
}

/// A pool whose configuration cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Its name.
    pub name: String,
    /// Its hosts, as far as they can be read.
    pub hosts: Vec<String>,
}

impl Sites {
    /// The pools by their hosts. A host that two pools want belongs to the one that had it `before`,
    /// else to nobody; each of those is an entry of the second value.
    pub(super) fn new(
        all: Vec<Arc<Site>>,
        broken: &[Broken],
        before: Option<&Self>,
    ) -> (Self, Vec<String>) {
        let mut claims: BTreeMap<&str, Vec<&Arc<Site>>> = BTreeMap::new();
        for site in &all {
            for host in hosts(site) {
                let claim = claims.entry(host).or_default();
                // A host may be named twice.
                if claim.last().is_none_or(|last| !Arc::ptr_eq(last, site)) {
                    claim.push(site);
                }
            }
        }
        let mut sites = Self::default();
        let mut disputes = Vec::new();
        for (host, claimants) in &claims {
            let owner = match claimants.as_slice() {
                [only] => Owner::Site(Arc::clone(only)),
                _ => dispute(host, claimants, before, &mut disputes),
            };
            sites.set(host, owner);
        }
        for Broken { name, hosts } in broken {
            let why: Arc<str> =
                format!("the configuration of the pool \"{name}\" is broken").into();
            for host in hosts.iter().filter(|host| !claims.contains_key(host.as_str())) {
                sites.set(host, Owner::Broken(Arc::clone(&why)));
            }
        }
        sites.all = all;
        (sites, disputes)
    }

    fn set(&mut self, host: &str, owner: Owner) {
        match host.strip_prefix('*') {
            _ if host == EVERY_HOST => self.every = Some(owner),
            Some(below) => drop(self.below.insert(below.to_owned(), owner)),
            None => drop(self.exact.insert(host.to_owned(), owner)),
        }
    }

    fn get(&self, host: &str) -> Option<&Owner> {
        match host.strip_prefix('*') {
            _ if host == EVERY_HOST => self.every.as_ref(),
            Some(below) => self.below.get(below),
            None => self.exact.get(host),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<Site>] {
        &self.all
    }

    /// What a host belongs to, in small letters and without a port.
    pub(super) fn find(&self, host: &str) -> Option<&Owner> {
        if let Some(owner) = self.exact.get(host) {
            return Some(owner);
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

fn hosts(site: &Site) -> impl Iterator<Item = &str> {
    let hosts = site.settings.hosts.get_ref();
    let every = hosts.is_empty().then_some(EVERY_HOST);
    hosts.iter().map(String::as_str).chain(every)
}

/// Whom a host belongs to that several pools want.
fn dispute(
    host: &str,
    claimants: &[&Arc<Site>],
    before: Option<&Sites>,
    disputes: &mut Vec<String>,
) -> Owner {
    let names: Vec<_> = claimants.iter().map(|site| format!("\"{}\"", site.pool.name)).collect();
    let shown = if host == EVERY_HOST { "every host" } else { host };
    let both = format!("the pools {} both want {shown}", names.join(" and "));
    let had = |site: &&&Arc<Site>| match before.and_then(|before| before.get(host)) {
        Some(Owner::Site(owner)) => owner.pool.name == site.pool.name,
        _ => false,
    };
    if let Some(site) = claimants.iter().find(had) {
        disputes.push(format!("{both}: \"{}\" keeps it", site.pool.name));
        return Owner::Site(Arc::clone(site));
    }
    disputes.push(format!("{both}: it gets 503"));
    Owner::Broken(both.into())
}
