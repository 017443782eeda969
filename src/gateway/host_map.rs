//! Finds the virtual host for a host name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// The names of the pools whose configuration cannot be used, and whose hosts are known.
    broken: Vec<String>,
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
    /// Builds the map. If several pools configure the same host, the pool that had this host `before` keeps
    /// it. If no pool had it, requests for this host get 503. The second value has a message for each such
    /// conflict.
    pub(super) fn new(
        all: Vec<Arc<VirtualHost>>,
        broken: &[Broken],
        before: Option<&Self>,
    ) -> (Self, Vec<String>) {
        let claims =
            claims(all.iter().map(|vhost| (vhost, vhost.settings.hosts.get_ref().as_slice())));
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
        let is_wanted = |it: &&Broken| !it.hosts.is_empty();
        map.broken = broken.iter().filter(is_wanted).map(|it| it.name.clone()).collect();
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

    /// The names of the pools whose configuration cannot be used, and whose hosts are known.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
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

/// The claimants of each host.
fn claims<'a, T: Copy>(
    claimants: impl Iterator<Item = (T, &'a [String])>,
) -> BTreeMap<&'a str, Vec<T>> {
    let mut claims: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (claimant, hosts) in claimants {
        let every = hosts.is_empty().then_some(EVERY_HOST);
        // A pool may list a host twice.
        let own: BTreeSet<&str> = hosts.iter().map(String::as_str).chain(every).collect();
        for host in own {
            claims.entry(host).or_default().push(claimant);
        }
    }
    claims
}

/// The messages about hosts that several of these pools configure, if none of the pools has had the host
/// before.
pub(super) fn conflicts(pools: &[(&str, &[String])]) -> Vec<String> {
    let claims = claims(pools.iter().copied());
    let several = claims.iter().filter(|(_, pools)| pools.len() > 1);
    several.map(|(host, pools)| unserved(&both(host, pools))).collect()
}

fn both(host: &str, pools: &[&str]) -> String {
    let names: Vec<_> = pools.iter().map(|name| format!("\"{name}\"")).collect();
    let shown = if host == EVERY_HOST { "every host" } else { host };
    format!("the pools {} all configure {shown}", names.join(" and "))
}

fn unserved(message: &str) -> String {
    format!("{message}: its requests get 503")
}

/// The owner of a host that several pools configure.
fn conflict(
    host: &str,
    claimants: &[&Arc<VirtualHost>],
    before: Option<&HostMap>,
    conflicts: &mut Vec<String>,
) -> Owner {
    let names: Vec<&str> = claimants.iter().map(|vhost| vhost.pool.name.as_str()).collect();
    let message = both(host, &names);
    let had = |vhost: &&&Arc<VirtualHost>| match before.and_then(|before| before.get(host)) {
        Some(Owner::VirtualHost(owner)) => owner.pool.name == vhost.pool.name,
        _ => false,
    };
    if let Some(vhost) = claimants.iter().find(had) {
        conflicts.push(format!("{message}: \"{}\" keeps it", vhost.pool.name));
        return Owner::VirtualHost(Arc::clone(vhost));
    }
    conflicts.push(unserved(&message));
    Owner::Broken(message.into())
}
