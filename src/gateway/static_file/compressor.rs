//! Compresses static files once, on another thread, and caches the result in memory.
//!
//! The first request for a file starts its compression, and gets the plain file. So do further requests
//! until the compression is done. One file is compressed at a time. Requests for other files meanwhile
//! get the plain file, and a later request tries again. So no request waits, and no work piles up.
//!
//! A changed file never gets the compressed bytes of its old version: the cache key is the file's
//! [`Identity`], which is read again after the compression.

mod cache;
mod gzip;
mod identity;

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::fstat;
use tokio::task::spawn_blocking;

use crate::gateway::file_lookup::OpenFile;
pub(super) use cache::Gzip;
use cache::{Cache, ENTRY, Known};
use identity::Identity;

/// In bytes. A smaller file fits into a packet or two anyway.
const SMALLEST: u64 = 1 << 10;
/// In bytes. Larger files are requested so seldom that other files make better use of the memory.
const LARGEST: u64 = 8 << 20;

/// Compresses files, and caches them.
#[derive(Debug)]
pub(in crate::gateway) struct Compressor {
    state: Mutex<State>,
    /// The largest file size to compress, in bytes.
    largest: u64,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// A compression is in progress.
    busy: bool,
}

impl Compressor {
    /// `max`: the size of the cache in bytes. With 0, nothing is compressed.
    pub(in crate::gateway) fn new(max: u64) -> Arc<Self> {
        let state = State { cache: Cache::new(max), busy: false };
        Arc::new(Self { state: Mutex::new(state), largest: LARGEST.min(max.saturating_sub(ENTRY)) })
    }

    /// The compressed file. None: the plain file is to be sent, this time or always.
    pub(super) fn find(self: &Arc<Self>, file: &OpenFile) -> Option<Gzip> {
        self.find_at(file, SystemTime::now())
    }

    fn find_at(self: &Arc<Self>, file: &OpenFile, now: SystemTime) -> Option<Gzip> {
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

/// The right to compress a file, until this is dropped.
struct Turn(Arc<Compressor>);

impl Turn {
    /// Compresses a file. If it cannot be read, or changes meanwhile, the result is discarded: a later
    /// request tries again.
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
