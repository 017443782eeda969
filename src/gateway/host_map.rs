//! Finds the virtual host for a host name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::virtual_host::VirtualHost;
use crate::config::EVERY_HOST;

/// All virtual hosts, by host name.
#[derive(Debug, Default)]
pub(super) struct HostMap {
    all: Vec<Arc<VirtualHost>>,
    exact: HashMap<String, Owner>,
    /// By the part after the `*` of `*.example.com`.
    wildcard: HashMap<String, Owner>,
    /// For all other hosts.
    default: Option<Owner>,
}

/// The owner of a host name.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// A virtual host.
    VirtualHost(Arc<VirtualHost>),
    /// Requests get 503, for this reason.
    Broken(Arc<str>),
}

/// A pool whose configuration cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Its name.
    pub name: String,
    /// Its hosts, if they can be read.
    pub hosts: Vec<String>,
}

impl HostMap {
    /// Builds the map. If several pools configure the same host, the one that had it `before` keeps it;
    /// if none had it, its requests get 503. The second value has a message for each such conflict.
    pub(super) fn new(
        all: Vec<Arc<VirtualHost>>,
        broken: &[Broken],
        before: Option<&Self>,
    ) -> (Self, Vec<String>) {
        let mut claims: BTreeMap<&str, Vec<&Arc<VirtualHost>>> = BTreeMap::new();
        for vhost in &all {
            for host in hosts(vhost) {
                let claim = claims.entry(host).or_default();
                // A pool may list a host twice.
                if claim.last().is_none_or(|last| !Arc::ptr_eq(last, vhost)) {
                    claim.push(vhost);
                }
            }
        }
        let mut map = Self::default();
        let mut conflicts = Vec::new();
        for (host, claimants) in &claims {
            let owner = match claimants.as_slice() {
                [only] => Owner::VirtualHost(Arc::clone(only)),
                _ => conflict(host, claimants, before, &mut conflicts),
            };
            map.set(host, owner);
        }
        for Broken { name, hosts } in broken {
            let reason: Arc<str> =
                format!("the configuration of the pool \"{name}\" is broken").into();
            for host in hosts.iter().filter(|host| !claims.contains_key(host.as_str())) {
                map.set(host, Owner::Broken(Arc::clone(&reason)));
            }
        }
        map.all = all;
        (map, conflicts)
    }

    fn set(&mut self, host: &str, owner: Owner) {
        match host.strip_prefix('*') {
            _ if host == EVERY_HOST => self.default = Some(owner),
            Some(below) => drop(self.wildcard.insert(below.to_owned(), owner)),
            None => drop(self.exact.insert(host.to_owned(), owner)),
        }
    }

    fn get(&self, host: &str) -> Option<&Owner> {
        match host.strip_prefix('*') {
            _ if host == EVERY_HOST => self.default.as_ref(),
            Some(below) => self.wildcard.get(below),
            None => self.exact.get(host),
        }
    }

    /// All virtual hosts.
    pub(super) fn all(&self) -> &[Arc<VirtualHost>] {
        &self.all
    }

    /// Finds the owner of a host name, which is in lower case and without a port.
    pub(super) fn find(&self, host: &str) -> Option<&Owner> {
        if let Some(owner) = self.exact.get(host) {
            return Some(owner);
        }
        let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let mut suffixes = dots.map(|(at, _)| &host[at..]);
        suffixes.find_map(|suffix| self.wildcard.get(suffix)).or(self.default.as_ref())
    }

    /// The virtual host of a pool.
    pub(super) fn of_pool(&self, name: &str) -> Option<&Arc<VirtualHost>> {
        self.all.iter().find(|vhost| vhost.pool.name == name)
    }
}

fn hosts(vhost: &VirtualHost) -> impl Iterator<Item = &str> {
    let hosts = vhost.settings.hosts.get_ref();
    let every = hosts.is_empty().then_some(EVERY_HOST);
    hosts.iter().map(String::as_str).chain(every)
}

/// The owner of a host that several pools configure.
fn conflict(
    host: &str,
    claimants: &[&Arc<VirtualHost>],
    before: Option<&HostMap>,
    conflicts: &mut Vec<String>,
) -> Owner {
    let names: Vec<_> = claimants.iter().map(|vhost| format!("\"{}\"", vhost.pool.name)).collect();
    let shown = if host == EVERY_HOST { "every host" } else { host };
    let message = format!("the pools {} all configure {shown}", names.join(" and "));
    let had = |vhost: &&&Arc<VirtualHost>| match before.and_then(|before| before.get(host)) {
        Some(Owner::VirtualHost(owner)) => owner.pool.name == vhost.pool.name,
        _ => false,
    };
    if let Some(vhost) = claimants.iter().find(had) {
        conflicts.push(format!("{message}: \"{}\" keeps it", vhost.pool.name));
        return Owner::VirtualHost(Arc::clone(vhost));
    }
    conflicts.push(format!("{message}: its requests get 503"));
    Owner::Broken(message.into())
}
