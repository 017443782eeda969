//! Quotas: how many bytes are reserved in total, per pool, and per client, each with a limit.
//!
//! A response without space waits for its client. A request body without space is refused. So responses
//! may use only three quarters of each limit: however slowly clients read, bodies have space.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gateway::client::network;

/// The number of scripts that may wait for a client that has used up its quota.
const WAITING_MAX: usize = 2;

/// The limits, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Limits {
    /// In total.
    pub total: u64,
    /// For one pool.
    pub pool: u64,
    /// For one client.
    pub client: u64,
}

/// What bytes are reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Purpose {
    /// A request body.
    Body,
    /// A response.
    Response,
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Limit {
    /// The total limit.
    Total,
    /// The limit of the pool.
    Pool,
    /// The limit of the client.
    Client,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = match self {
            Self::Total => "max_temp",
            Self::Pool => "max_temp_per_pool",
            Self::Client => "max_temp_per_client",
        };
        write!(f, "{setting} is reached")
    }
}

impl std::error::Error for Limit {}

/// The reserved bytes, with their limits.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: Limits,
    used: Mutex<Used>,
}

/// In bytes. No entry is 0.
#[derive(Debug, Default)]
struct Used {
    total: u64,
    pools: HashMap<String, u64>,
    clients: HashMap<IpAddr, u64>,
    /// The number of scripts that wait for a client.
    waiting: HashMap<IpAddr, usize>,
}

impl Quotas {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, used: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, pool: &str, client: IpAddr, bytes: u64, purpose: Purpose) -> Result<(), Limit> {
        let mut used = self.lock();
        let of_pool = used.pools.get(pool).copied().unwrap_or_default();
        let of_client = used.clients.get(&client).copied().unwrap_or_default();
        // The narrowest limit first: it is the most helpful one in a message.
        let limits = [
            (of_client, self.limits.client, Limit::Client),
            (of_pool, self.limits.pool, Limit::Pool),
            (used.total, self.limits.total, Limit::Total),
        ];
        for (used, limit, which) in limits {
            let limit = if purpose == Purpose::Response { limit - limit / 4 } else { limit };
            if bytes > limit.saturating_sub(used) {
                return Err(which);
            }
        }
        used.total += bytes;
        used.clients.insert(client, of_client + bytes);
        match used.pools.get_mut(pool) {
            Some(of_pool) => *of_pool += bytes,
            None => drop(used.pools.insert(pool.to_owned(), bytes)),
        }
        Ok(())
    }

    fn give_back(&self, pool: &str, client: IpAddr, bytes: u64) {
        let mut used = self.lock();
        used.total -= bytes;
        if is_used_up(used.pools.get_mut(pool), bytes) {
            used.pools.remove(pool);
        }
        if is_used_up(used.clients.get_mut(&client), bytes) {
            used.clients.remove(&client);
        }
    }
}

/// Subtracts, and returns whether nothing is left.
fn is_used_up(from: Option<&mut u64>, bytes: u64) -> bool {
    from.is_some_and(|from| {
        *from -= bytes;
        *from == 0
    })
}

/// The quota of one client of one pool.
#[derive(Debug, Clone)]
pub(super) struct ClientQuota {
    quotas: Arc<Quotas>,
    pool: Arc<str>,
    client: IpAddr,
}

impl ClientQuota {
    pub(super) fn new(quotas: &Arc<Quotas>, pool: &Arc<str>, client: IpAddr) -> Self {
        Self { quotas: Arc::clone(quotas), pool: Arc::clone(pool), client: network(client) }
    }

    /// Reserves bytes.
    pub(super) fn reserve(&self, bytes: u64, purpose: Purpose) -> Result<Reservation, Limit> {
        self.quotas.take(&self.pool, self.client, bytes, purpose)?;
        Ok(Reservation { quota: self.clone(), bytes })
    }

    /// The right to let a script wait for the client. None: enough scripts wait already.
    pub(super) fn wait_permit(&self) -> Option<WaitPermit> {
        let mut used = self.quotas.lock();
        let waiting = used.waiting.entry(self.client).or_default();
        if *waiting == WAITING_MAX {
            return None;
        }
        *waiting += 1;
        drop(used);
        Some(WaitPermit(self.clone()))
    }
}

impl fmt::Display for ClientQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool \"{}\", client {}", self.pool, self.client)
    }
}

/// Reserved bytes. Dropping it gives them back.
#[derive(Debug)]
pub(in crate::gateway) struct Reservation {
    quota: ClientQuota,
    bytes: u64,
}

impl Reservation {
    /// Takes over another reservation of the same client.
    pub(super) fn add(&mut self, mut more: Self) {
        self.bytes += std::mem::take(&mut more.bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub(in crate::gateway) fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes as u64);
        self.bytes -= excess;
        drop(Self { quota: self.quota.clone(), bytes: excess });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let ClientQuota { quotas, pool, client } = &self.quota;
            quotas.give_back(pool, *client, self.bytes);
        }
    }
}

/// A script that waits for a client which has used up its quota. Dropping it ends the wait.
#[derive(Debug)]
pub(in crate::gateway) struct WaitPermit(ClientQuota);

impl Drop for WaitPermit {
    fn drop(&mut self) {
        let ClientQuota { quotas, client, .. } = &self.0;
        let mut used = quotas.lock();
        if let Some(waiting) = used.waiting.get_mut(client) {
            *waiting -= 1;
            if *waiting == 0 {
                used.waiting.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas() -> Arc<Quotas> {
        Arc::new(Quotas::new(Limits { total: 1000, pool: 500, client: 200 }))
    }

    fn quota(quotas: &Arc<Quotas>, pool: &str, client: &str) -> ClientQuota {
        ClientQuota::new(quotas, &pool.into(), client.parse().unwrap())
    }

    #[test]
    fn limits_leave_space_for_other_clients_and_pools() {
        let quotas = quotas();
        let body =
            |pool, client: &str, bytes| quota(&quotas, pool, client).reserve(bytes, Purpose::Body);
        let first = body("a", "10.0.0.1", 200).unwrap();
        assert_eq!(body("b", "10.0.0.1", 1).unwrap_err(), Limit::Client);
        let _second = body("a", "10.0.0.2", 200).unwrap();
        assert_eq!(body("a", "10.0.0.3", 101).unwrap_err(), Limit::Pool);
        let _others = [4, 5, 6].map(|it| body("b", &format!("10.0.0.{it}"), 150).unwrap());
        assert_eq!(body("c", "10.0.0.7", 151).unwrap_err(), Limit::Total);
        drop(first);
        body("a", "10.0.0.1", 200).unwrap();
    }

    #[test]
    fn entries_are_removed_when_all_bytes_are_given_back() {
        let quotas = quotas();
        let mut held = quota(&quotas, "a", "10.0.0.1").reserve(200, Purpose::Body).unwrap();
        held.shrink(50);
        assert_eq!(quotas.lock().total, 50);
        drop(held);
        drop(quota(&quotas, "a", "10.0.0.1").wait_permit());
        let used = quotas.lock();
        assert!(used.total == 0 && used.pools.is_empty());
        assert!(used.clients.is_empty() && used.waiting.is_empty());
    }

    #[test]
    fn responses_leave_space_for_bodies() {
        let quotas = quotas();
        let client = quota(&quotas, "a", "10.0.0.1");
        let _response = client.reserve(150, Purpose::Response).unwrap();
        assert_eq!(client.reserve(1, Purpose::Response).unwrap_err(), Limit::Client);
        client.reserve(50, Purpose::Body).unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_quota() {
        let quotas = quotas();
        let _held = quota(&quotas, "a", "2001:db8::1").reserve(200, Purpose::Body).unwrap();
        let reserve = |client| quota(&quotas, "a", client).reserve(1, Purpose::Body).is_ok();
        assert!(!reserve("2001:db8::ffff:1") && reserve("2001:db8:0:1::1"));
        let _held = quota(&quotas, "a", "::ffff:10.0.0.1").reserve(200, Purpose::Body).unwrap();
        assert!(!reserve("10.0.0.1") && reserve("10.0.0.2"));
    }
}
