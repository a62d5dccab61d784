//! All groups of a kind, in bounded memory.

use std::collections::HashMap;

use monitor_common::call_share::Share;

use super::{
    group::{Group, Rules},
    key::{Hasher, Keys},
};
use crate::event::Event;
use monitor_ledger::ClockReading;

/// Silence after which a group makes room for others if there is none, nanoseconds.
const ROOM_AFTER_NS: u64 = 3_600_000_000_000;

/// What an owner may emit while others have filled the groups.
const WITHOUT_ROOM: Share = Share { burst: 64, interval_ns: 10_000_000_000 };

/// All groups of a kind.
#[derive(Debug)]
pub(super) struct Groups {
    rules: Rules,
    limits: Limits,
    alike: HashMap<u64, Group>,
    /// Number of groups in `alike` by owner.
    owners: HashMap<u64, usize>,
    /// Groups of those that found no room among `alike`.
    overflow: HashMap<u64, Group>,
    /// The tokens of owners that emit without room, see [`WITHOUT_ROOM`].
    tokens: HashMap<u64, u64>,
}

/// How many groups there are at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of all owners.
    pub(super) all: usize,
    /// Of one owner, so that it takes none from the others.
    pub(super) of_owner: usize,
}

impl Groups {
    pub(super) fn new(rules: Rules, limits: Limits) -> Self {
        let (alike, owners, overflow, tokens) = Default::default();
        Self { rules, limits, alike, owners, overflow, tokens }
    }

    /// Adds an event to a sum, or returns it to be emitted as it is.
    pub(super) fn ingest(
        &mut self,
        event: Event,
        keys: Keys,
        hasher: &Hasher,
        now_ns: u64,
    ) -> Option<Event> {
        if let Some(group) = self.alike.get_mut(&keys.alike) {
            return group.add(event, (&self.rules, true), hasher, now_ns);
        }
        let owned = self.owners.entry(keys.owner).or_default();
        if *owned < self.limits.of_owner {
            if self.alike.len() < self.limits.all {
                *owned += 1;
                self.alike.insert(keys.alike, Group::new(&event, keys, hasher, now_ns));
                return Some(event);
            }
            // Without room it stands for itself: others have filled the groups. Not for ever, because
            // they may be the same user under many names.
            if self.take_token(keys.owner, now_ns) {
                return Some(event);
            }
        }
        if let Some(group) = self.overflow.get_mut(&keys.overflow) {
            return group.add(event, (&self.rules, false), hasher, now_ns);
        }
        if self.overflow.len() < self.limits.all {
            self.overflow.insert(keys.overflow, Group::new(&event, keys, hasher, now_ns));
        }
        Some(event)
    }

    fn take_token(&mut self, owner: u64, now_ns: u64) -> bool {
        if self.tokens.len() >= self.limits.all && !self.tokens.contains_key(&owner) {
            return false;
        }
        let word = self.tokens.entry(owner).or_default();
        let next = WITHOUT_ROOM.take(*word, now_ns);
        *word = next.unwrap_or(*word);
        next.is_some()
    }

    /// The summaries that are due. Forgets groups that have been silent for long.
    pub(super) fn expire(&mut self, at: ClockReading, out: &mut Vec<Event>) {
        let now_ns = at.boottime_ns;
        for (groups, is_alike) in self.maps() {
            out.extend(
                groups.values_mut().filter_map(|group| group.due(now_ns, at.wall, is_alike)),
            );
        }
        let Self { rules, limits, alike, owners, overflow, tokens } = self;
        tokens.retain(|_, full_at| *full_at > now_ns);
        let is_crowded = !overflow.is_empty() || alike.len() >= limits.all;
        let keep_ns = if is_crowded { ROOM_AFTER_NS } else { rules.forget_ns };
        let keep_ns = keep_ns.min(rules.forget_ns);
        let before = alike.len();
        alike.retain(|_, group| !group.is_idle(now_ns, keep_ns));
        overflow.retain(|_, group| !group.is_idle(now_ns, keep_ns));
        if alike.len() < before || owners.len() > alike.len() {
            owners.clear();
            for group in alike.values() {
                *owners.entry(group.owner()).or_default() += 1;
            }
        }
    }

    /// All summaries, due or not.
    pub(super) fn flush(&mut self, at: ClockReading, out: &mut Vec<Event>) {
        for (groups, is_alike) in self.maps() {
            out.extend(groups.values_mut().filter_map(|group| group.take(at.wall, is_alike)));
        }
    }

    fn maps(&mut self) -> [(&mut HashMap<u64, Group>, bool); 2] {
        [(&mut self.alike, true), (&mut self.overflow, false)]
    }
}
