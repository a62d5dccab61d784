//! The baseline itself: learning, comparing, and what has to be saved.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    entry::{Entry, EntryKey, Standing},
    identity::{Listener, ProgramKey},
    kept::Kept,
    news::{Compared, Difference, News, Novelty},
    ports::PortRecord,
};

/// Entries in the baseline at most, and as many outside of it.
pub const MAX_ENTRIES: usize = 4096;

/// Covered time after which a listener that is not open is gone. A restart takes less.
const GONE_AFTER_NS: u64 = 300_000_000_000;

/// A listener is gone if it was absent for this many times the longest absence so far: what runs once a
/// day is absent for a day.
const ABSENCE_FACTOR: u64 = 2;

/// Covered time for which ranges outside of the baseline are remembered.
const REMEMBER_RANGES_NS: u64 = 86_400_000_000_000;

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Covered time, for durations.
    pub covered_ns: u64,
    /// Wall clock time, for display.
    pub wall: Timestamp,
}

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Covered time in which the baseline is learned.
    pub learn: Duration,
    /// Ports that the kernel chooses for sockets that name none.
    pub automatic: RangeInclusive<u16>,
}

/// What an observed listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Whether it is in the baseline.
    pub standing: Standing,
    /// Since when it is known to listen there.
    pub since: Timestamp,
    /// What is new about it; `None` for a listener that is known.
    pub news: Option<News>,
}

/// The baseline, and what is known outside of it.
#[derive(Clone, Debug)]
pub struct Baseline {
    settings: Settings,
    state: SavedBaseline,
    /// Covered time of the last tick; `None` while listeners are not watched.
    ticked_ns: Option<u64>,
    entries: BTreeMap<u32, Kept>,
    by_key: HashMap<EntryKey, u32>,
    /// Entries of programs that are not wholly known.
    partial: usize,
    next_id: u32,
    /// Entries that differ from what was saved.
    dirty: BTreeSet<u32>,
    /// Covered time of the last scan.
    scanned_ns: Option<u64>,
}

/// The baseline without its entries, as it is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBaseline {
    /// Covered time for which it has been learned.
    learned_ns: u64,
    /// Whether a scan of all sockets has ended.
    has_scanned: bool,
    /// How many listeners were new, changed and gone.
    changes: [u64; 3],
}

impl Default for Settings {
    fn default() -> Self {
        Self { learn: Duration::from_secs(14 * 86_400), automatic: 32_768..=60_999 }
    }
}

impl Default for Baseline {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Baseline {
    /// An empty baseline that is about to be learned.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: SavedBaseline::default(),
            ticked_ns: None,
            entries: BTreeMap::new(),
            by_key: HashMap::new(),
            partial: 0,
            next_id: 1,
            dirty: BTreeSet::new(),
            scanned_ns: None,
        }
    }

    /// Restores what was saved, at the covered time `now_ns`.
    pub fn restore(
        &mut self,
        state: SavedBaseline,
        entries: impl IntoIterator<Item = (u32, Entry)>,
        now_ns: u64,
    ) {
        self.state = state;
        for (id, mut entry) in entries {
            self.next_id = self.next_id.max(id.saturating_add(1));
            entry.seen_ns = now_ns;
            // When the others were last open before the agent ended is not known.
            let open = entry.ports.single.values_mut().filter(|record| !record.is_gone);
            open.for_each(|record| record.seen_ns = now_ns);
            self.keep(id, entry);
        }
    }

    /// Applies a changed configuration. A longer time continues the learning.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether what listens becomes part of the baseline.
    pub fn is_learning(&self) -> bool {
        let learn = u64::try_from(self.settings.learn.as_nanos()).unwrap_or(u64::MAX);
        !self.state.has_scanned || self.state.learned_ns < learn
    }

    /// Covered time for which it has been learned.
    pub const fn learned(&self) -> Duration {
        Duration::from_nanos(self.state.learned_ns)
    }

    /// How many listeners were new, changed and gone.
    pub const fn changes(&self) -> [u64; 3] {
        self.state.changes
    }

    /// The entries, in the order in which they were made.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|kept| &kept.entry)
    }

    /// Counts the covered time since the last call as watched.
    pub fn tick(&mut self, covered_ns: u64) {
        let since = self.ticked_ns.replace(covered_ns).unwrap_or(covered_ns);
        self.state.learned_ns += covered_ns.saturating_sub(since);
    }

    /// Listeners are not watched from now on.
    pub fn pause(&mut self) {
        self.ticked_ns = None;
    }

    /// Whether `listener` is in the baseline, or known to be outside of it; `None` if it is not known.
    pub fn standing(&self, listener: &Listener) -> Option<Standing> {
        let key = listener.program.key();
        let has = |standing: &Standing| self.find(*standing, listener, &key).is_some();
        [Standing::Learned, Standing::Outside].into_iter().find(has)
    }

    /// Records that `listener` is open.
    pub fn observe(&mut self, at: Moment, listener: &Listener) -> Observation {
        let key = listener.program.key();
        if let Some(id) = self.find(Standing::Learned, listener, &key) {
            return self.known(id, at, listener);
        }
        if self.is_learning() {
            self.forget_outside(listener, &key);
            let id = self.insert(Standing::Learned, at, listener);
            return self.known(id, at, listener);
        }
        if let Some(id) = self.find(Standing::Outside, listener, &key)
            && !self.belongs_to_a_scan(id, listener.port)
        {
            return self.known(id, at, listener);
        }
        let novelty = match self.predecessor(listener, &key) {
            Some(differences) => Novelty::Changed(differences),
            None => Novelty::New,
        };
        self.count(&novelty);
        let entry = self.insert(Standing::Outside, at, listener);
        let news = News {
            entry,
            novelty,
            protocol: listener.protocol,
            port: listener.port,
            scope: listener.scope,
            program: listener.program.clone(),
        };
        Observation { news: Some(news), ..self.known(entry, at, listener) }
    }

    /// Ends a scan that began at `at`, and whose listeners on the watched ports were all observed at that
    /// time. Returns those that are gone; none if the scan is not known to have seen everything.
    pub fn finish_scan(
        &mut self,
        at: Moment,
        is_complete: bool,
        is_watched: impl Fn(u16) -> bool,
    ) -> Vec<News> {
        let is_learning = self.is_learning();
        self.state.has_scanned = true;
        let mut gone = Vec::new();
        if is_complete {
            let ids: Vec<u32> = self.entries.keys().copied().collect();
            ids.into_iter().for_each(|id| self.find_gone(id, at, &is_watched, &mut gone));
        }
        self.scanned_ns = Some(at.covered_ns);
        if is_learning {
            gone.clear();
        }
        gone.iter().for_each(|news| self.count(&news.novelty));
        gone
    }

    /// The news of these entries were reported.
    pub fn reported(&mut self, entries: &[u32]) {
        for id in entries {
            if let Some(kept) = self.entries.get_mut(id) {
                kept.set_reported();
            }
        }
    }

    /// What is saved beside the entries.
    pub const fn saved(&self) -> SavedBaseline {
        self.state
    }

    /// The entries that have changed since the last call, without what is not reported yet; `None` for
    /// those to delete.
    pub fn take_changes(&mut self) -> Vec<(u32, Option<Entry>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let is_pending = |id: &u32| self.entries.get(id).is_some_and(Kept::has_unreported);
        self.dirty = dirty.iter().copied().filter(is_pending).collect();
        let entry = |id| (id, self.entries.get(&id).and_then(Kept::to_save));
        dirty.into_iter().map(entry).collect()
    }

    /// Marks entries as unsaved.
    pub fn requeue(&mut self, entries: impl IntoIterator<Item = u32>) {
        self.dirty.extend(entries);
    }

    /// Marks every entry as unsaved.
    pub fn mark_unsaved(&mut self) {
        self.dirty.extend(self.entries.keys());
    }

    fn count(&mut self, novelty: &Novelty) {
        self.state.changes[novelty.index()] += 1;
    }

    /// The entry that has the listener.
    fn find(&self, standing: Standing, listener: &Listener, key: &ProgramKey) -> Option<u32> {
        let automatic = &self.settings.automatic;
        let has = |kept: &Kept| kept.entry.ports.contains(listener.port, automatic);
        let whole = (standing, listener.protocol, listener.scope, key.clone());
        if let Some(id) = self.by_key.get(&whole)
            && self.entries.get(id).is_some_and(has)
        {
            return Some(*id);
        }
        if key.is_whole() && self.partial == 0 {
            return None;
        }
        let may_be = |kept: &&Kept| {
            let (of, protocol, scope, program) = &kept.key;
            (*of, *protocol, *scope) == (standing, listener.protocol, listener.scope)
                && has(kept)
                && program.may_be(key)
        };
        self.entries.iter().find(|(_, kept)| may_be(kept)).map(|(id, _)| *id)
    }

    /// Adds the port of a listener to the entry of its program.
    fn insert(&mut self, standing: Standing, at: Moment, listener: &Listener) -> u32 {
        let key = (standing, listener.protocol, listener.scope, listener.program.key());
        let id = self.by_key.get(&key).copied().unwrap_or_else(|| {
            self.make_room(standing);
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            self.keep(id, Entry::new(standing, listener, at.wall));
            id
        });
        let is_automatic = self.settings.automatic.contains(&listener.port)
            && listener.port_was_named != Some(true);
        if let Some(kept) = self.entries.get_mut(&id) {
            let record = PortRecord::new(at);
            match standing {
                Standing::Learned => kept.entry.ports.add(listener.port, record, is_automatic),
                Standing::Outside => kept.add_unreported(listener.port, record, is_automatic),
            }
        }
        self.dirty.insert(id);
        id
    }

    fn keep(&mut self, id: u32, entry: Entry) {
        // An entry of a protocol that this build does not know is left in the store.
        let Some(key) = entry.key() else { return };
        self.partial += usize::from(!key.3.is_whole());
        self.by_key.insert(key.clone(), id);
        self.entries.insert(id, Kept::new(entry, key));
    }

    fn remove(&mut self, id: u32) {
        if let Some(kept) = self.entries.remove(&id) {
            self.partial -= usize::from(!kept.key.3.is_whole());
            self.by_key.remove(&kept.key);
            self.dirty.insert(id);
        }
    }

    /// Whether a port that an entry has as one of a range is counted with news of it that are not
    /// reported yet.
    fn belongs_to_a_scan(&self, id: u32, port: u16) -> bool {
        self.entries.get(&id).is_some_and(|kept| {
            kept.has_unreported()
                && !kept.is_unreported(port)
                && !kept.entry.ports.single.contains_key(&port)
        })
    }

    /// Makes room for another entry in the place of the one that was seen the longest ago.
    fn make_room(&mut self, standing: Standing) {
        let of = || self.entries.iter().filter(|(_, kept)| kept.entry.standing == standing);
        if of().count() >= MAX_ENTRIES
            && let Some((&id, _)) = of().min_by_key(|(_, kept)| kept.entry.seen_ns)
        {
            self.remove(id);
        }
    }

    /// Forgets that a listener was outside of the baseline.
    fn forget_outside(&mut self, listener: &Listener, key: &ProgramKey) {
        let Some(id) = self.find(Standing::Outside, listener, key) else { return };
        let Some(kept) = self.entries.get_mut(&id) else { return };
        kept.forget_port(listener.port);
        self.dirty.insert(id);
        if kept.entry.ports.is_empty() {
            self.remove(id);
        }
    }

    /// Notes that the entry's listener is open, and returns what it is.
    fn known(&mut self, id: u32, at: Moment, listener: &Listener) -> Observation {
        self.complete(id, listener);
        let scanned_ns = self.scanned_ns.unwrap_or(0);
        let unknown = Observation { standing: Standing::Outside, since: at.wall, news: None };
        let Some(kept) = self.entries.get_mut(&id) else { return unknown };
        let Kept { entry, key, .. } = kept;
        entry.seen_ns = entry.seen_ns.max(at.covered_ns);
        let mut is_changed = false;
        if listener.program != entry.program && listener.program.key() == key.3 {
            entry.program.clone_from(&listener.program);
            is_changed = true;
        }
        let mut since = entry.first;
        if let Some(record) = entry.ports.single.get_mut(&listener.port) {
            is_changed |= record.see(at, scanned_ns);
            since = record.last_opened;
        }
        let standing = entry.standing;
        if is_changed {
            self.dirty.insert(id);
        }
        Observation { standing, since, news: None }
    }

    /// Completes the program of an entry that was not wholly known, as by the call of a process that had
    /// ended when it was looked at.
    fn complete(&mut self, id: u32, listener: &Listener) {
        let Some(kept) = self.entries.get_mut(&id) else { return };
        let program = listener.program.key();
        if kept.key.3.is_whole() || !program.is_whole() {
            return;
        }
        let key = (kept.key.0, kept.key.1, kept.key.2, program);
        // Another entry of that program has ports of its own.
        if self.by_key.contains_key(&key) {
            return;
        }
        self.by_key.remove(&kept.key);
        self.by_key.insert(key.clone(), id);
        self.partial -= 1;
        kept.key = key;
        kept.entry.program.clone_from(&listener.program);
        self.dirty.insert(id);
    }

    /// How a listener differs from the one that is known on its port.
    fn predecessor(&self, listener: &Listener, key: &ProgramKey) -> Option<Vec<Difference>> {
        let is_of_port = |kept: &&Kept| {
            let ports = &kept.entry.ports;
            // A port that the kernel chose had no listener of its own before.
            let has = ports.names(listener.port)
                || ports.range.is_some_and(|(first, last)| (first..=last).contains(&listener.port));
            has && kept.key.1 == listener.protocol && kept.key.3.container == key.container
        };
        // Two pods may have the same port, each in a network of its own.
        let is_other_pod = |kept: &Kept| {
            kept.entry.program.container.as_deref() == Some("*")
                && self.scanned_ns.is_some_and(|scanned| kept.entry.seen_ns >= scanned)
        };
        let new = Compared { scope: listener.scope, program: &listener.program, key };
        let known = self.entries.values().filter(is_of_port).filter(|kept| !is_other_pod(kept));
        let nearest = known
            .map(|kept| Compared {
                scope: kept.entry.scope,
                program: &kept.entry.program,
                key: &kept.key.3,
            })
            .filter(|old| old.distance(new) > 0)
            .min_by_key(|old| old.distance(new));
        nearest.map(|old| old.differences(new))
    }

    /// Finds the ports of an entry that are gone at the end of a scan.
    fn find_gone(
        &mut self,
        id: u32,
        at: Moment,
        is_watched: &impl Fn(u16) -> bool,
        gone: &mut Vec<News>,
    ) {
        let Some(kept) = self.entries.get_mut(&id) else { return };
        let mut ended = Vec::new();
        for (port, record) in &mut kept.entry.ports.single {
            if is_watched(*port) && record.ends(at) {
                record.is_gone = true;
                ended.push(*port);
            }
        }
        if kept.entry.standing == Standing::Outside {
            ended.iter().for_each(|port| kept.forget_port(*port));
            let unseen_ns = at.covered_ns.saturating_sub(kept.entry.seen_ns);
            if unseen_ns > REMEMBER_RANGES_NS {
                kept.forget_ranges();
            }
        }
        if !ended.is_empty() {
            self.dirty.insert(id);
        }
        gone.extend(ended.into_iter().map(|port| News {
            entry: id,
            novelty: Novelty::Gone,
            protocol: kept.key.1,
            port,
            scope: kept.entry.scope,
            program: kept.entry.program.clone(),
        }));
        if kept.entry.ports.is_empty() {
            self.remove(id);
        }
    }
}

impl PortRecord {
    const fn new(at: Moment) -> Self {
        Self {
            first: at.wall,
            last_opened: at.wall,
            times: 1,
            seen_ns: at.covered_ns,
            longest_absence_ns: 0,
            is_gone: false,
        }
    }

    /// Notes that it is open. Returns whether it was not at the last scan, which was at `scanned_ns`.
    fn see(&mut self, at: Moment, scanned_ns: u64) -> bool {
        let was_absent = self.is_gone || self.seen_ns < scanned_ns;
        if was_absent {
            let absence_ns = at.covered_ns.saturating_sub(self.seen_ns);
            self.longest_absence_ns = self.longest_absence_ns.max(absence_ns);
            self.last_opened = at.wall;
            self.times += 1;
            self.is_gone = false;
        }
        self.seen_ns = self.seen_ns.max(at.covered_ns);
        was_absent
    }

    /// Whether it was not open for so long that it is gone.
    const fn ends(&self, at: Moment) -> bool {
        let longest = self.longest_absence_ns.saturating_mul(ABSENCE_FACTOR);
        let limit = if longest > GONE_AFTER_NS { longest } else { GONE_AFTER_NS };
        !self.is_gone && at.covered_ns.saturating_sub(self.seen_ns) > limit
    }
}
