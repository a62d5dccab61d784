//! What is saved of the chronicle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    cursors::{Cursor, Series, TalkerCursor},
    day::Day,
    holding::Holding,
    record::DayRecord,
};
use crate::state::PortState;

/// State changes and gaps that wait for a store that cannot be written at most.
const MOST_WAITING: usize = 50_000;

/// The chronicle without its days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedChronicle {
    /// When the history began.
    pub began: Timestamp,
    /// Time of the last reading: a gap begins here.
    pub wall: Timestamp,
    /// The same, `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// The kernel's boot.
    pub boot_id: String,
    /// The counters that the cursors are of.
    pub counters_id: String,
    /// What addresses are hashed with.
    pub seed: u64,
    /// The id of the next holding.
    pub next_holding: u64,
    /// The ports that are not both quiet and dormant.
    pub states: BTreeMap<u16, (PortState, bool)>,
    /// Rows of the kernel's table of talkers.
    pub talkers: Vec<TalkerCursor>,
}

/// A day of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostDay {
    /// Covered time, nanoseconds.
    pub covered_ns: u64,
    /// Events that were lost.
    pub lost: u64,
    /// Holders of ports that were not kept.
    pub unkept: u64,
}

/// A time in which no agent looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// How long it was: the clock may have been stepped meanwhile.
    pub length_ns: u64,
}

/// A port that is in another state than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The port.
    pub port: u16,
    /// When it was noticed.
    pub at: Timestamp,
    /// Its state from then on.
    pub state: PortState,
    /// Whether it is dormant.
    pub dormant: bool,
}

/// A port that is watched from a time on, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchChange {
    /// The port.
    pub port: u16,
    /// When.
    pub at: Timestamp,
    /// Whether it is watched from then on.
    pub watched: bool,
}

/// Changes since the last save. The store applies all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChronicleChanges {
    /// Replaces what is saved.
    pub chronicle: SavedChronicle,
    /// Whether all saved cursors are replaced, because they are of other counters.
    pub forgets_cursors: bool,
    /// Cursors to replace.
    pub cursors: BTreeMap<Series, Cursor>,
    /// Additions to days.
    pub days: BTreeMap<(Day, u16), DayRecord>,
    /// Additions to days of the host.
    pub host: BTreeMap<Day, HostDay>,
    /// Gaps to add.
    pub gaps: Vec<Gap>,
    /// State changes to add.
    pub states: Vec<StateChange>,
    /// Changes of what is watched.
    pub watched: Vec<WatchChange>,
    /// Holdings to replace, by their ids.
    pub holdings: BTreeMap<u64, Holding>,
}

impl HostDay {
    /// Adds what another has of the same day.
    pub const fn merge(&mut self, other: &Self) {
        self.covered_ns = self.covered_ns.saturating_add(other.covered_ns);
        self.lost = self.lost.saturating_add(other.lost);
        self.unkept = self.unkept.saturating_add(other.unkept);
    }
}

impl ChronicleChanges {
    /// These changes, and `later` ones.
    #[must_use]
    pub fn followed_by(mut self, later: Self) -> Self {
        self.chronicle = later.chronicle;
        if later.forgets_cursors {
            self.forgets_cursors = true;
            self.cursors.clear();
        }
        self.cursors.extend(later.cursors);
        for (key, record) in later.days {
            self.days.entry(key).or_default().merge(&record);
        }
        for (day, host) in later.host {
            self.host.entry(day).or_default().merge(&host);
        }
        extend(&mut self.gaps, later.gaps);
        extend(&mut self.states, later.states);
        self.watched.extend(later.watched);
        self.holdings.extend(later.holdings);
        self
    }
}

/// Appends, and drops the oldest of too many.
fn extend<T>(list: &mut Vec<T>, more: Vec<T>) {
    list.extend(more);
    let surplus = list.len().saturating_sub(MOST_WAITING);
    list.drain(..surplus);
}
