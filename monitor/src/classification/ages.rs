//! When the entries of a map time out.

use std::collections::VecDeque;

/// Keys, each with the time from which it counts, oldest first.
///
/// An entry may be removed from the map, or replaced, before its time is up: the caller compares the
/// time of the entry with that of the key.
#[derive(Debug)]
pub(super) struct Ages<K>(VecDeque<(u64, K)>);

impl<K: Copy> Ages<K> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, time_ns: u64, key: K) {
        self.0.push_back((time_ns, key));
    }

    /// Removes the oldest key if its timeout has passed at `now_ns`.
    pub(super) fn pop_expired(&mut self, now_ns: u64, timeout_ns: u64) -> Option<(u64, K)> {
        let (time_ns, _) = self.0.front()?;
        if now_ns.saturating_sub(*time_ns) < timeout_ns {
            return None;
        }
        self.0.pop_front()
    }
}

impl<K> Default for Ages<K> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}
