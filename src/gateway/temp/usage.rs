//! How many bytes are held: of all, of each pool, and of each client, each with a limit.
//!
//! An answer that has no room in a temporary file can wait for its client; a request's body that
//! has none is refused. So answers may take three quarters of each limit only: however slowly
//! clients read, there is room for bodies.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many scripts may wait for a client that has used up its share.
const WAITING: usize = 2;

/// The most bytes that may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Limits {
    /// Of all.
    pub all: u64,
    /// Of one pool.
    pub pool: u64,
    /// Of one client.
    pub client: u64,
}

/// What they are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Purpose {
    /// A request's body.
    Body,
    /// An answer.
    Answer,
}

/// The limit that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Limit {
    /// That of all.
    All,
    /// That of the pool.
    Pool,
    /// That of the client.
    Client,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, setting) = match self {
            Self::All => ("all requests together", "max_temp"),
            Self::Pool => ("the pool", "max_temp_per_pool"),
            Self::Client => ("the client", "max_temp_per_client"),
        };
        write!(f, "{of} may have no more ({setting})")
    }
}

impl std::error::Error for Limit {}

#[derive(Debug)]
pub(super) struct Usage {
    limits: Limits,
    used: Mutex<Used>,
}

/// In bytes; nothing is listed with 0.
#[derive(Debug, Default)]
struct Used {
    all: u64,
    pools: HashMap<String, u64>,
    clients: HashMap<IpAddr, u64>,
    /// How many scripts wait for a client that has used up its share.
    waiting: HashMap<IpAddr, usize>,
}

impl Usage {
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
        // The narrowest first: it says best what is wrong.
        let shares = [
            (of_client, self.limits.client, Limit::Client),
            (of_pool, self.limits.pool, Limit::Pool),
            (used.all, self.limits.all, Limit::All),
        ];
        for (used, limit, which) in shares {
            let limit = if purpose == Purpose::Answer { limit - limit / 4 } else { limit };
            if bytes > limit.saturating_sub(used) {
                return Err(which);
            }
        }
        used.all += bytes;
        used.clients.insert(client, of_client + bytes);
        match used.pools.get_mut(pool) {
            Some(of_pool) => *of_pool += bytes,
            None => drop(used.pools.insert(pool.to_owned(), bytes)),
        }
        Ok(())
    }

    fn give_back(&self, pool: &str, client: IpAddr, bytes: u64) {
        let mut used = self.lock();
        used.all -= bytes;
        if is_used_up(used.pools.get_mut(pool), bytes) {
            used.pools.remove(pool);
        }
        if is_used_up(used.clients.get_mut(&client), bytes) {
            used.clients.remove(&client);
        }
    }
}

/// Subtracts; whether nothing is left.
fn is_used_up(from: Option<&mut u64>, bytes: u64) -> bool {
    from.is_some_and(|from| {
        *from -= bytes;
        *from == 0
    })
}

/// An IPv6 client has a network of 64 bits to choose its addresses from.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// What counts for one client of one pool.
#[derive(Debug, Clone)]
pub(super) struct Share {
    usage: Arc<Usage>,
    pool: Arc<str>,
    client: IpAddr,
}

impl Share {
    pub(super) fn new(usage: &Arc<Usage>, pool: &Arc<str>, client: IpAddr) -> Self {
        Self { usage: Arc::clone(usage), pool: Arc::clone(pool), client: network(client) }
    }

    /// Reserves so many bytes.
    pub(super) fn reserve(&self, bytes: u64, purpose: Purpose) -> Result<Reserved, Limit> {
        self.usage.take(&self.pool, self.client, bytes, purpose)?;
        Ok(Reserved { share: self.clone(), bytes })
    }

    /// The right to let a script wait for the client. None: too many wait already.
    pub(super) fn wait(&self) -> Option<Waiting> {
        let mut used = self.usage.lock();
        let waiting = used.waiting.entry(self.client).or_default();
        if *waiting == WAITING {
            return None;
        }
        *waiting += 1;
        drop(used);
        Some(Waiting(self.clone()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool \"{}\", client {}", self.pool, self.client)
    }
}

/// Bytes that count for a share, until this is dropped.
#[derive(Debug)]
pub(in crate::gateway) struct Reserved {
    share: Share,
    bytes: u64,
}

impl Reserved {
    /// Takes over what another one has.
    pub(super) fn add(&mut self, mut more: Self) {
        self.bytes += std::mem::take(&mut more.bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but so many.
    pub(in crate::gateway) fn shrink(&mut self, bytes: usize) {
        let left_over = self.bytes.saturating_sub(bytes as u64);
        self.bytes -= left_over;
        drop(Self { share: self.share.clone(), bytes: left_over });
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let Share { usage, pool, client } = &self.share;
            usage.give_back(pool, *client, self.bytes);
        }
    }
}

/// A script that waits for a client which has used up its share, until this is dropped.
#[derive(Debug)]
pub(in crate::gateway) struct Waiting(Share);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Share { usage, client, .. } = &self.0;
        let mut used = usage.lock();
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

    fn usage() -> Arc<Usage> {
        Arc::new(Usage::new(Limits { all: 1000, pool: 500, client: 200 }))
    }

    fn share(usage: &Arc<Usage>, pool: &str, client: &str) -> Share {
        Share::new(usage, &pool.into(), client.parse().unwrap())
    }

    #[test]
    fn one_client_leaves_room_for_others_and_one_pool_for_others() {
        let usage = usage();
        let body =
            |pool, client: &str, bytes| share(&usage, pool, client).reserve(bytes, Purpose::Body);
        let first = body("a", "10.0.0.1", 200).unwrap();
        assert_eq!(body("b", "10.0.0.1", 1).unwrap_err(), Limit::Client);
        let _second = body("a", "10.0.0.2", 200).unwrap();
        assert_eq!(body("a", "10.0.0.3", 101).unwrap_err(), Limit::Pool);
        let _others = [4, 5, 6].map(|it| body("b", &format!("10.0.0.{it}"), 150).unwrap());
        assert_eq!(body("c", "10.0.0.7", 151).unwrap_err(), Limit::All);
        drop(first);
        body("a", "10.0.0.1", 200).unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_what_was_given_back() {
        let usage = usage();
        let mut held = share(&usage, "a", "10.0.0.1").reserve(200, Purpose::Body).unwrap();
        held.shrink(50);
        assert_eq!(usage.lock().all, 50);
        drop(held);
        drop(share(&usage, "a", "10.0.0.1").wait());
        let used = usage.lock();
        assert!(used.all == 0 && used.pools.is_empty());
        assert!(used.clients.is_empty() && used.waiting.is_empty());
    }

    #[test]
    fn answers_leave_room_for_bodies() {
        let usage = usage();
        let client = share(&usage, "a", "10.0.0.1");
        let _answer = client.reserve(150, Purpose::Answer).unwrap();
        assert_eq!(client.reserve(1, Purpose::Answer).unwrap_err(), Limit::Client);
        client.reserve(50, Purpose::Body).unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let usage = usage();
        let _held = share(&usage, "a", "2001:db8::1").reserve(200, Purpose::Body).unwrap();
        let reserve = |client| share(&usage, "a", client).reserve(1, Purpose::Body).is_ok();
        assert!(!reserve("2001:db8::ffff:1") && reserve("2001:db8:0:1::1"));
        let _held = share(&usage, "a", "::ffff:10.0.0.1").reserve(200, Purpose::Body).unwrap();
        assert!(!reserve("10.0.0.1") && reserve("10.0.0.2"));
    }
}
