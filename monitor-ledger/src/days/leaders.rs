//! Counts of those that have the most, in bounded memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is counted of each.
pub trait Count: Copy + Default + PartialEq {
    /// Adds another count.
    fn add(&mut self, other: &Self);
    /// What it weighs against others.
    fn weight(&self) -> u64;
}

/// Counts of at most `MOST` keys, and the sum of all others.
///
/// Keys have weights as in the summary of Misra and Gries (1982): when there are too many, each loses
/// as much as the heaviest of those that leave, so that a key with more than one of `MOST + 1` parts of
/// all weight stays. Two summaries merge into one with the same guarantee (Agarwal and others,
/// "Mergeable summaries", 2012). A key's count is never too high. It is exact for a key that never
/// left, and all are while there are at most `MOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaders<K: Ord, V, const MOST: usize> {
    entries: BTreeMap<K, Entry<V>>,
    others: V,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry<V> {
    pub(super) weight: u64,
    pub(super) count: V,
}

impl<K: Ord, V: Default, const MOST: usize> Default for Leaders<K, V, MOST> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), others: V::default() }
    }
}

impl<K: Ord + Clone, V: Count, const MOST: usize> Leaders<K, V, MOST> {
    /// Adds to the count of a key.
    pub fn add(&mut self, key: K, count: V) {
        self.insert(key, Entry { weight: count.weight(), count });
        self.trim(MOST);
    }

    /// Adds all counts of another summary.
    pub fn merge(&mut self, other: &Self) {
        for (key, entry) in &other.entries {
            self.insert(key.clone(), *entry);
        }
        self.others.add(&other.others);
        self.trim(MOST);
    }

    /// The keys, those with the most first.
    pub fn ranked(&self) -> Vec<(&K, V)> {
        let mut ranked: Vec<(&K, V)> =
            self.entries.iter().map(|(key, entry)| (key, entry.count)).collect();
        // Stable: equals stay in the order of their keys.
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(count.weight()));
        ranked
    }

    /// The sum of what is not counted by key.
    pub const fn others(&self) -> V {
        self.others
    }

    /// The sum of all.
    pub fn total(&self) -> V {
        let mut total = self.others;
        self.entries.values().for_each(|entry| total.add(&entry.count));
        total
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.others == V::default()
    }

    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&K, &Entry<V>)> {
        self.entries.iter()
    }

    pub(super) fn insert(&mut self, key: K, entry: Entry<V>) {
        let known = self.entries.entry(key).or_default();
        known.weight = known.weight.saturating_add(entry.weight);
        known.count.add(&entry.count);
    }

    pub(super) fn add_others(&mut self, others: &V) {
        self.others.add(others);
    }

    /// Keeps at most so many keys.
    pub(super) fn trim(&mut self, most: usize) {
        if self.entries.len() <= most {
            return;
        }
        let mut weights: Vec<u64> = self.entries.values().map(|entry| entry.weight).collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let heaviest_that_leaves = weights[most];
        let others = &mut self.others;
        self.entries.retain(|_, entry| {
            entry.weight = entry.weight.saturating_sub(heaviest_that_leaves);
            if entry.weight == 0 {
                others.add(&entry.count);
            }
            entry.weight > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Few = Leaders<u8, u64, 4>;

    fn summary(counts: &[(u8, u64)]) -> Few {
        let mut few = Few::default();
        counts.iter().for_each(|(key, count)| few.add(*key, *count));
        few
    }

    fn counts() -> impl Strategy<Value = Vec<(u8, u64)>> {
        proptest::collection::vec((0_u8..12, 1_u64..50), 0..24)
    }

    fn truth(counts: &[(u8, u64)]) -> BTreeMap<u8, u64> {
        let mut truth = BTreeMap::new();
        counts.iter().for_each(|(key, count)| *truth.entry(*key).or_default() += count);
        truth
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled(a in counts(), b in counts(), c in counts()) {
            let all: Vec<_> = [a.clone(), b.clone(), c.clone()].concat();
            let truth = truth(&all);
            let [a, b, c] = [summary(&a), summary(&b), summary(&c)];
            let mut left = a.clone();
            left.merge(&b);
            left.merge(&c);
            let mut right = b.clone();
            right.merge(&c);
            let mut swapped = right.clone();
            right.merge(&a);
            let mut other = a;
            other.merge(&swapped);
            swapped = other;
            let sum: u64 = truth.values().sum();
            for merged in [&left, &right, &swapped] {
                prop_assert_eq!(merged.total(), sum);
                prop_assert!(merged.entries().len() <= 4);
                for (key, count) in merged.ranked() {
                    prop_assert!(count <= truth[key]);
                }
                for (key, count) in &truth {
                    let is_kept = merged.entries().any(|(kept, _)| kept == key);
                    prop_assert!(is_kept || count * 5 <= sum, "{key} has {count} of {sum}");
                }
            }
            prop_assert_eq!(&right, &swapped, "the order of two does not matter");
        }

        #[test]
        fn few_keys_are_exact_in_any_order(a in counts(), b in counts()) {
            let few = |counts: Vec<(u8, u64)>| -> Vec<(u8, u64)> {
                counts.into_iter().map(|(key, count)| (key % 4, count)).collect()
            };
            let (a, b) = (few(a), few(b));
            let mut merged = summary(&a);
            merged.merge(&summary(&b));
            let counted: BTreeMap<u8, u64> =
                merged.ranked().into_iter().map(|(key, count)| (*key, count)).collect();
            prop_assert_eq!(counted, truth(&[a, b].concat()));
            prop_assert_eq!(merged.others(), 0);
        }
    }
}
