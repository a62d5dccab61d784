//! A bounded cache that drops what was not used recently.

use std::{collections::HashMap, hash::Hash, mem};

/// A map of at most twice as many entries as it was made for: when the young half is full, the old
/// one is forgotten, and the young one becomes it. What is looked up becomes young again.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Generations<K, V> {
    /// A cache of up to twice `half` entries.
    pub(super) fn new(half: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.old.iter().chain(&self.young)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bound() {
        let mut cache = Generations::new(4);
        for number in 0..1_000 {
            cache.insert(number, number);
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert_eq!(cache.get(&999), Some(&999));
        assert_eq!(cache.get(&0), None);
    }

    #[test]
    fn keeps_what_is_used() {
        let mut cache = Generations::new(4);
        cache.insert(0, "used");
        for number in 1..1_000 {
            cache.insert(number, "once");
            assert_eq!(cache.get(&0), Some(&"used"), "{number}");
        }
        cache.insert(0, "changed");
        assert_eq!(cache.get(&0), Some(&"changed"));
    }
}
