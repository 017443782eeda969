//! Verifies passwords without holding up the serving threads.
//!
//! A password hash takes processor time on purpose. Therefore:
//!
//! - The results are remembered, each by a keyed hash of the password.
//! - Only a few verifications run at a time, on other threads.
//! - The number of requests that wait for a verification is limited, in all and for each client.
//!
//! So a flood of wrong passwords costs other clients only places in the queue.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::credentials::Credentials;
use super::recent::Recent;
use super::users::{self, Users};
use crate::gateway::http_error::HttpError;

/// Of each kind of result (right, wrong), at least this many are remembered, and at most twice as many.
const KNOWN: usize = 4096;
/// How many requests may wait, in all.
const WAITING_MAX: usize = 128;
/// How many requests of a client may wait: enough for a page with pictures whose password is not verified
/// yet.
const WAITING_OF_CLIENT_MAX: usize = 16;
/// The longest time that a request waits.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Identifies a password without revealing it.
type Fingerprint = [u8; 32];

/// Verifies passwords.
#[derive(Debug)]
pub(in crate::gateway) struct Verifier {
    key: [u8; 32],
    turns: Arc<Semaphore>,
    known: Mutex<Known>,
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// Right and wrong passwords are kept apart: a flood of wrong passwords does not push out the right ones.
#[derive(Debug)]
struct Known {
    right: Recent<Fingerprint, ()>,
    wrong: Recent<Fingerprint, ()>,
}

/// A verifier that has no results yet.
impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    fn new() -> Self {
        // Half of the cores: the rest serves.
        let turns = available_parallelism().map_or(1, usize::from).div_ceil(2);
        let known = Known { right: Recent::new(KNOWN), wrong: Recent::new(KNOWN) };
        Self {
            key: random_key(),
            turns: Arc::new(Semaphore::new(turns)),
            known: Mutex::new(known),
            waiting: Mutex::default(),
        }
    }

    /// Whether the password is that of the user. Error: too many others are being verified.
    pub(super) async fn verify(
        &self,
        client: IpAddr,
        users: &Users,
        sent: &Credentials,
    ) -> Result<bool, HttpError> {
        let (hash, exists) = users.hash_of(&sent.user);
        let fingerprint = self.fingerprint(hash, sent);
        if let Some(known) = self.known(fingerprint) {
            return Ok(known && exists);
        }
        let _place = self.place(client).ok_or_else(busy)?;
        let turn = timeout(WAIT_MAX, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(busy()) };
        // Another request of the same page may have got the result meanwhile.
        if let Some(known) = self.known(fingerprint) {
            return Ok(known && exists);
        }
        let (password, hash) = (sent.password.clone(), hash.to_owned());
        // The turn ends with the work, even if the client goes away.
        let work = spawn_blocking(move || (users::is_right(&password, &hash), turn).0);
        let is_right = work.await.map_err(|_| busy())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = if is_right { &mut known.right } else { &mut known.wrong };
        known.insert(fingerprint, ());
        Ok(is_right && exists)
    }

    fn known(&self, fingerprint: Fingerprint) -> Option<bool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_right = known.right.get(&fingerprint).map(|()| true);
        is_right.or_else(|| known.wrong.get(&fingerprint).map(|()| false))
    }

    /// The fingerprint includes the hash: when the hash changes in the file, a password has to be
    /// verified again.
    fn fingerprint(&self, hash: &str, sent: &Credentials) -> Fingerprint {
        let mut digest = Sha256::new();
        digest.update(self.key);
        for part in [hash.as_bytes(), sent.user.as_bytes(), &sent.password] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn place(&self, client: IpAddr) -> Option<Place<'_>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = waiting.values().sum();
        let own = waiting.entry(client).or_default();
        if all >= WAITING_MAX || *own >= WAITING_OF_CLIENT_MAX {
            if *own == 0 {
                waiting.remove(&client);
            }
            return None;
        }
        *own += 1;
        Some(Place { waiting: &self.waiting, client })
    }
}

/// A place among those that wait.
struct Place<'a> {
    waiting: &'a Mutex<HashMap<IpAddr, usize>>,
    client: IpAddr,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = waiting.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                waiting.remove(&self.client);
            }
        }
    }
}

/// The standard library seeds its hashers with random numbers of the system.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    for part in key.chunks_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    }
    key
}

fn busy() -> HttpError {
    let error = HttpError::unlogged(StatusCode::SERVICE_UNAVAILABLE);
    error.with(RETRY_AFTER, HeaderValue::from_static("1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn places_are_limited_in_all_and_for_each_client() {
        let verifier = Verifier::new();
        let own: Vec<_> = (0..20).map(|_| verifier.place(client(0))).collect();
        assert_eq!(own.iter().flatten().count(), WAITING_OF_CLIENT_MAX);
        let others: Vec<_> = (1..500).map(|number| verifier.place(client(number))).collect();
        assert_eq!(others.iter().flatten().count(), WAITING_MAX - WAITING_OF_CLIENT_MAX);
        drop((own, others));
        assert!(verifier.waiting.lock().unwrap().is_empty());
        assert!(verifier.place(client(0)).is_some());
    }

    #[test]
    fn fingerprint_depends_on_hash_user_and_password() {
        let verifier = Verifier::new();
        let of = |hash: &str, user: &str, password: &str| {
            let sent = Credentials { user: user.to_owned(), password: password.into() };
            verifier.fingerprint(hash, &sent)
        };
        let all = [of("h", "a", "bc"), of("h", "ab", "c"), of("ha", "", "bc"), of("h", "a", "bd")];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
        assert_ne!(
            Verifier::new()
                .fingerprint("h", &Credentials { user: "a".into(), password: b"bc".into() }),
            all[0]
        );
    }
}
