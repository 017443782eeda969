//! A map that forgets what was not used for long, so that its size is bounded.
//!
//! It has two generations. When the younger one is full, the older one is dropped, and the younger one
//! takes its place. An entry that is used moves to the younger one. So each step takes constant time, and
//! a flood of new keys pushes out what is not in use.

use std::collections::HashMap;
use std::hash::Hash;

/// A map with a bound.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The largest size of a generation.
    max: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// A map with at most twice `max` entries.
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max }
    }

    /// The value of a key. The key counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Adds or replaces a value.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_bounded_and_what_is_used_stays() {
        let mut map = Recent::new(10);
        for number in 0..1000 {
            map.insert(number, number);
            assert_eq!(map.get(&0).copied(), Some(0), "{number}");
            assert!(map.len() <= 20);
        }
        assert_eq!(map.get(&999).copied(), Some(999));
        assert_eq!(map.get(&500), None);
    }
}
