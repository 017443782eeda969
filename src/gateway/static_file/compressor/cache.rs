//! What was compressed, in memory, up to a limit: what was not asked for the longest goes first.
//!
//! Bytes count as long as anybody has them. A file that has gone from here while a slow client
//! still takes it leaves less room for others: else many such clients could have any amount held.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::gzip::Compressed;
use super::identity::Identity;

/// What a file takes besides its bytes, in bytes; about.
pub(super) const ENTRY: u64 = 512;

/// A file, compressed.
#[derive(Debug, Clone)]
pub(in crate::gateway::static_file) struct Gzip {
    pub(in crate::gateway::static_file) bytes: Bytes,
    /// Their checksum.
    pub(in crate::gateway::static_file) sum: u32,
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Smaller(Gzip),
    /// It is sent as it is.
    NotSmaller,
}

/// What is known of files.
#[derive(Debug)]
pub(super) struct Cache {
    files: HashMap<Identity, Entry>,
    /// Those files, by their last use.
    uses: BTreeMap<u64, Identity>,
    /// How often files were used, all together.
    clock: u64,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    used: u64,
    /// Its own part of the room; its bytes have theirs.
    _share: Share,
}

impl Cache {
    /// Takes at most `max` bytes.
    pub(super) fn new(max: u64) -> Self {
        let room = Arc::new(Room(AtomicU64::new(max)));
        Self { files: HashMap::new(), uses: BTreeMap::new(), clock: 0, room }
    }

    /// What is known of a file, which it is kept the longer for.
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

    /// Keeps a file, compressed, or that it does not become smaller (None). Where that cannot be,
    /// since too much is being sent, it is as if it had not been compressed.
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

    /// Room for so many bytes, at the cost of others.
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

/// Bytes, and the room that they take.
struct Held {
    bytes: Box<[u8]>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How many bytes are left.
#[derive(Debug)]
struct Room(AtomicU64);

impl Room {
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let take = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Share { bytes, room: Arc::clone(self) })
    }
}

/// A part of the room. It is given back by being dropped.
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

    /// Room for so many files of 1,000 bytes.
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
    fn what_was_not_asked_for_the_longest_goes_first() {
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
    fn what_is_kept_never_takes_more_than_it_may() {
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
    fn what_is_being_sent_counts_though_it_has_gone() {
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
    fn a_file_that_is_kept_twice_is_there_once() {
        let mut cache = cache(2);
        store(&mut cache, 1);
        store(&mut cache, 1);
        assert_eq!((cache.uses.len(), left(&cache)), (1, 1000 + ENTRY));
        store(&mut cache, 2);
        assert!(has(&cache, 1) && has(&cache, 2));
    }

    #[test]
    fn that_a_file_does_not_become_smaller_is_known_and_cheap() {
        let mut cache = cache(2);
        let max = left(&cache);
        cache.store(Identity::numbered(1), None);
        assert!(matches!(cache.find(&Identity::numbered(1)), Some(Known::NotSmaller)));
        assert_eq!(left(&cache), max - ENTRY);
    }

    #[test]
    fn what_is_larger_than_the_room_is_not_kept() {
        let mut cache = cache(1);
        cache.store(Identity::numbered(1), Some(compressed(1001)));
        assert!(!has(&cache, 1) && left(&cache) == 1000 + ENTRY);
    }
}
