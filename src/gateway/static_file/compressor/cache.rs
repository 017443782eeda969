//! The cache of compressed files: least recently used, with a limit in bytes.
//!
//! Bytes count towards the limit as long as a response uses them, also after their file was removed from
//! the cache. Otherwise many slow clients could hold any amount of memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::gzip::Compressed;
use super::identity::Identity;

/// The approximate size of an entry without its compressed bytes, in bytes.
pub(super) const ENTRY: u64 = 512;

/// A compressed file.
#[derive(Debug, Clone)]
pub(in crate::gateway::static_file) struct Gzip {
    pub(in crate::gateway::static_file) bytes: Bytes,
    /// The checksum of `bytes`.
    pub(in crate::gateway::static_file) sum: u32,
}

/// The result of a compression.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Smaller(Gzip),
    /// Compression does not make the file smaller.
    NotSmaller,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    files: HashMap<Identity, Entry>,
    /// The same files, ordered by their last use.
    uses: BTreeMap<u64, Identity>,
    /// Counts all uses.
    clock: u64,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    used: u64,
    /// For the entry itself; the bytes have a share of their own.
    _share: Share,
}

impl Cache {
    /// A cache of at most `max` bytes.
    pub(super) fn new(max: u64) -> Self {
        let room = Arc::new(Room(AtomicU64::new(max)));
        Self { files: HashMap::new(), uses: BTreeMap::new(), clock: 0, room }
    }

    /// Looks a file up, and marks it as used.
    pub(super) fn find(&mut self, identity: &Identity) -> Option<Known> {
        let entry = self.files.get_mut(identity)?;
        if entry.used < self.clock {
            self.uses.remove(&entry.used);
            self.clock += 1;
            entry.used = self.clock;
            self.uses.insert(self.clock, *identity);
        }
        Some(entry.known.clone())
    }

    /// Stores the result of a compression; None: the file does not become smaller. If there is no room,
    /// because responses use too many bytes, nothing is stored.
    pub(super) fn store(&mut self, identity: Identity, compressed: Option<Compressed>) {
        let Some(share) = self.make_room(ENTRY) else { return };
        let known = match compressed {
            None => Known::NotSmaller,
            Some(Compressed { bytes, sum }) => {
                let Some(share) = self.make_room(bytes.len() as u64) else { return };
                let bytes = Bytes::from_owner(Held { bytes, _share: share });
                Known::Smaller(Gzip { bytes, sum })
            }
        };
        self.clock += 1;
        let entry = Entry { known, used: self.clock, _share: share };
        if let Some(old) = self.files.insert(identity, entry) {
            self.uses.remove(&old.used);
        }
        self.uses.insert(self.clock, identity);
    }

    /// Makes room, by removing other entries.
    fn make_room(&mut self, bytes: u64) -> Option<Share> {
        loop {
            if let Some(share) = self.room.take(bytes) {
                return Some(share);
            }
            let (_, oldest) = self.uses.pop_first()?;
            self.files.remove(&oldest);
        }
    }
}

/// Bytes with their share of the room.
struct Held {
    bytes: Box<[u8]>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The free bytes of the cache.
#[derive(Debug)]
struct Room(AtomicU64);

impl Room {
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let take = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Share { bytes, room: Arc::clone(self) })
    }
}

/// A part of the room. Dropping the share gives its bytes back.
#[derive(Debug)]
struct Share {
    bytes: u64,
    room: Arc<Room>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache for this many files of 1,000 bytes.
    fn cache(files: u64) -> Cache {
        Cache::new(files * (1000 + ENTRY))
    }

    fn compressed(length: usize) -> Compressed {
        Compressed { bytes: vec![0; length].into(), sum: 0 }
    }

    fn store(cache: &mut Cache, number: u64) {
        cache.store(Identity::numbered(number), Some(compressed(1000)));
    }

    fn has(cache: &Cache, number: u64) -> bool {
        cache.files.contains_key(&Identity::numbered(number))
    }

    fn find(cache: &mut Cache, number: u64) -> Gzip {
        match cache.find(&Identity::numbered(number)) {
            Some(Known::Smaller(gzip)) => gzip,
            known => panic!("{number}: {known:?}"),
        }
    }

    fn left(cache: &Cache) -> u64 {
        cache.room.0.load(Ordering::Relaxed)
    }

    #[test]
    fn least_recently_used_file_is_removed_first() {
        let mut cache = cache(3);
        (1..=3).for_each(|number| store(&mut cache, number));
        find(&mut cache, 1);
        store(&mut cache, 4);
        assert_eq!([1, 2, 3, 4].map(|number| has(&cache, number)), [true, false, true, true]);
        store(&mut cache, 5);
        assert_eq!([1, 3, 4, 5].map(|number| has(&cache, number)), [true, false, true, true]);
        assert_eq!((cache.uses.len(), left(&cache)), (3, 0));
    }

    #[test]
    fn cache_never_exceeds_its_size() {
        let mut cache = cache(10);
        let max = left(&cache);
        for number in 0..1000 {
            let length = usize::try_from(number * 37 % 3000).unwrap();
            let compressed = (number % 5 > 0).then(|| compressed(length));
            cache.store(Identity::numbered(number), compressed);
            let taken: u64 = cache
                .files
                .values()
                .map(|entry| match &entry.known {
                    Known::Smaller(gzip) => ENTRY + gzip.bytes.len() as u64,
                    Known::NotSmaller => ENTRY,
                })
                .sum();
            assert_eq!(taken, max - left(&cache));
            assert_eq!(cache.files.len(), cache.uses.len());
            assert!(has(&cache, number));
        }
    }

    #[test]
    fn bytes_in_use_count_after_their_removal() {
        let mut cache = cache(2);
        store(&mut cache, 1);
        store(&mut cache, 2);
        let slow = [1, 2].map(|number| find(&mut cache, number).bytes.slice(..1));
        store(&mut cache, 3);
        assert!(!has(&cache, 3));
        drop(slow);
        store(&mut cache, 3);
        assert!(has(&cache, 3));
        assert_eq!(find(&mut cache, 3).bytes.len(), 1000);
    }

    #[test]
    fn file_that_is_stored_twice_has_one_entry() {
        let mut cache = cache(2);
        store(&mut cache, 1);
        store(&mut cache, 1);
        assert_eq!((cache.uses.len(), left(&cache)), (1, 1000 + ENTRY));
        store(&mut cache, 2);
        assert!(has(&cache, 1) && has(&cache, 2));
    }

    #[test]
    fn incompressible_file_takes_one_entry_without_bytes() {
        let mut cache = cache(2);
        let max = left(&cache);
        cache.store(Identity::numbered(1), None);
        assert!(matches!(cache.find(&Identity::numbered(1)), Some(Known::NotSmaller)));
        assert_eq!(left(&cache), max - ENTRY);
    }

    #[test]
    fn file_larger_than_the_cache_is_not_stored() {
        let mut cache = cache(1);
        cache.store(Identity::numbered(1), Some(compressed(1001)));
        assert!(!has(&cache, 1) && left(&cache) == 1000 + ENTRY);
    }
}
