//! Files that are compressed on the fly: each once, elsewhere than on the threads that serve, and
//! held in memory for all of them.
//!
//! The first request for a file begins to compress it, and gets it as it is at once; so do others
//! until that is done. One file is compressed at a time: what is asked for meanwhile is sent as it
//! is, and tried by a later request. So no request waits, and nothing piles up.
//!
//! A file that changes never gets the old one's bytes: it is known by its [`Identity`], which is
//! read again once all of it has been.

mod cache;
mod gzip;
mod identity;

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::fstat;
use tokio::task::spawn_blocking;

use crate::gateway::route::StaticFile;
pub(super) use cache::Gzip;
use cache::{Cache, ENTRY, Known};
use identity::Identity;

/// What is smaller, in bytes, fits into a packet or two anyway.
const SMALLEST: u64 = 1 << 10;
/// What is larger, in bytes, is sent so seldom that memory is better used for others.
const LARGEST: u64 = 8 << 20;

/// Compresses files, and holds them.
#[derive(Debug)]
pub(in crate::gateway) struct Compressor {
    state: Mutex<State>,
    /// The size of the largest file that is compressed, in bytes.
    largest: u64,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// A file is being compressed.
    busy: bool,
}

impl Compressor {
    /// Holds at most `max` bytes; with 0, nothing is compressed.
    pub(in crate::gateway) fn new(max: u64) -> Arc<Self> {
        let state = State { cache: Cache::new(max), busy: false };
        Arc::new(Self { state: Mutex::new(state), largest: LARGEST.min(max.saturating_sub(ENTRY)) })
    }

    /// A file, compressed. None: it is sent as it is, this time or always.
    pub(super) fn find(self: &Arc<Self>, file: &StaticFile) -> Option<Gzip> {
        self.find_at(file, SystemTime::now())
    }

    fn find_at(self: &Arc<Self>, file: &StaticFile, now: SystemTime) -> Option<Gzip> {
        let identity = Identity::of(&file.stat);
        if !(SMALLEST..=self.largest).contains(&identity.size) {
            return None;
        }
        let mut state = self.lock();
        match state.cache.find(&identity) {
            Some(Known::Smaller(gzip)) => return Some(gzip),
            Some(Known::NotSmaller) => return None,
            None if state.busy || !identity.is_settled(now) => return None,
            None => state.busy = true,
        }
        drop(state);
        let (turn, file) = (Turn(Arc::clone(self)), Arc::clone(&file.file));
        spawn_blocking(move || turn.compress(&file, identity));
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to compress a file. It is given back by being dropped.
struct Turn(Arc<Compressor>);

impl Turn {
    /// What cannot be read, or changes meanwhile, is not held: a later request tries again.
    fn compress(self, file: &File, identity: Identity) {
        let Ok(compressed) = gzip::compress(file, identity.size) else { return };
        if fstat(file).is_ok_and(|stat| Identity::of(&stat) == identity) {
            self.0.lock().cache.store(identity, compressed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().busy = false;
    }
}

#[cfg(test)]
mod tests;
