//! Collects what is to be saved of each day.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use jiff::Timestamp;
use monitor_common::{
    flow::{PortCounters, Protocol},
    rare::{RareCounters, RareSocketCounters},
    socket_event::SocketCounters,
    sources::Sketch,
};

use super::{
    cursors::{Cursor, Series, SeriesKind, TalkerCursor},
    day::Day,
    distinct::SeedTag,
    holding::{Holder, Holding, Holdings},
    record::{BindCount, DayRecord, Program, TalkerCount},
    saved::{ChronicleChanges, Gap, HostDay, SavedChronicle, StateChange, WatchChange},
};
use crate::{
    clock::ClockReading, coverage::MAX_READING_INTERVAL_NS, observation::Start, state::PortState,
};

/// Rows of the table of talkers that are saved.
const MOST_TALKER_CURSORS: usize = 1024;

/// Changes of the state of a port a day that are kept one by one. Of more, the state is kept every ten
/// minutes.
const MOST_STATE_CHANGES: u16 = 200;
const CROWDED_STATE_SECONDS: i64 = 600;

/// What happened since the last save, and the counters up to which days count.
#[derive(Debug)]
pub struct Chronicle {
    began: Timestamp,
    at: ClockReading,
    boot_id: String,
    counters_id: String,
    seed: u64,
    /// Whether the next reading adopts counters of unknown age.
    adopts_counts: bool,
    cursors: HashMap<Series, Cursor>,
    /// Cursors that are not saved.
    dirty: HashSet<Series>,
    forgets_cursors: bool,
    talkers: HashMap<(u16, Protocol, IpAddr), [u64; 4]>,
    adopts_talkers: bool,
    /// Hashes of the sketches that were added already, by port, protocol and begin of the window.
    sketches: HashMap<(u16, Protocol, i64), u64>,
    hasher: RandomState,
    states: BTreeMap<u16, (PortState, bool)>,
    /// The day, and by port how often its state changed and when it was last kept.
    state_changes: (Day, HashMap<u16, (u16, i64)>),
    watched: BTreeMap<u16, bool>,
    /// Lost events so far, as the caller counts them.
    lost: Option<u64>,
    holdings: Holdings,
    /// Covered time of the reading in progress.
    passed_ns: u64,
    days: BTreeMap<(Day, u16), DayRecord>,
    host: BTreeMap<Day, HostDay>,
    gaps: Vec<Gap>,
    new_states: Vec<StateChange>,
    new_watched: Vec<WatchChange>,
}

impl Chronicle {
    /// Begins a history. `seed` is what the kernel side hashes addresses with.
    pub fn new(start: &Start, seed: u64) -> Self {
        Self {
            began: start.at.wall,
            at: start.at,
            boot_id: start.boot_id.clone(),
            counters_id: start.counters.id.clone(),
            seed,
            adopts_counts: start.counters.adopted,
            cursors: HashMap::new(),
            dirty: HashSet::new(),
            forgets_cursors: true,
            talkers: HashMap::new(),
            adopts_talkers: start.counters.adopted,
            sketches: HashMap::new(),
            hasher: RandomState::new(),
            states: BTreeMap::new(),
            state_changes: (Day::of(start.at.wall), HashMap::new()),
            watched: BTreeMap::new(),
            lost: None,
            holdings: Holdings::default(),
            passed_ns: 0,
            days: BTreeMap::new(),
            host: BTreeMap::new(),
            gaps: Vec::new(),
            new_states: Vec::new(),
            new_watched: Vec::new(),
        }
    }

    /// Continues a saved history after the gap since its last save. `cursors` and the `open` holdings
    /// are those that were saved, `watched` the ports that were watched.
    pub fn resume(
        saved: SavedChronicle,
        cursors: impl IntoIterator<Item = (Series, Cursor)>,
        open: impl IntoIterator<Item = (u64, Holding)>,
        watched: impl IntoIterator<Item = u16>,
        start: &Start,
        seed: u64,
    ) -> Self {
        let mut chronicle = Self::new(start, seed);
        let length_ns = length_of_gap(&saved, start);
        chronicle.gaps.push(Gap { since: saved.wall, until: start.at.wall, length_ns });
        chronicle.began = saved.began;
        chronicle.states = saved.states;
        chronicle.watched = watched.into_iter().map(|port| (port, true)).collect();
        // A process has another id after a boot, and the first scan decides in any case.
        chronicle.holdings = Holdings::resume(open, saved.next_holding, Some(saved.wall));
        if saved.counters_id == start.counters.id {
            chronicle.adopts_counts = false;
            chronicle.adopts_talkers = false;
            chronicle.forgets_cursors = false;
            chronicle.cursors = cursors.into_iter().collect();
            let talkers = saved.talkers.into_iter().filter_map(|row| {
                let protocol = Protocol::ALL.get(usize::from(row.protocol))?;
                Some(((row.port, *protocol, row.address), row.counts))
            });
            chronicle.talkers = talkers.collect();
        } else {
            // Counters of another epoch count from zero, as the ledger has it.
            chronicle.adopts_counts = false;
            chronicle.adopts_talkers = false;
        }
        chronicle
    }

    /// What the kernel side hashes addresses with.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Watches these ports from now on, and no others.
    pub fn watch(&mut self, ports: impl IntoIterator<Item = u16>, at: Timestamp) {
        let now: BTreeMap<u16, bool> = ports.into_iter().map(|port| (port, true)).collect();
        let gone = self.watched.keys().filter(|port| !now.contains_key(port));
        let new = now.keys().filter(|port| !self.watched.contains_key(port));
        let changes = gone
            .map(|port| WatchChange { port: *port, at, watched: false })
            .chain(new.map(|port| WatchChange { port: *port, at, watched: true }));
        self.new_watched.extend(changes);
        self.watched = now;
    }

    /// Begins a reading of the counters: the time since the last one is covered, or a gap. The days of
    /// what follows are that of `at`.
    pub fn begin_reading(&mut self, at: ClockReading) {
        let passed = at.boottime_ns.saturating_sub(self.at.boottime_ns);
        self.passed_ns = 0;
        if passed <= MAX_READING_INTERVAL_NS {
            self.passed_ns = passed;
            self.host.entry(Day::of(at.wall)).or_default().covered_ns += passed;
        } else {
            let gap = Gap { since: self.at.wall, until: at.wall, length_ns: passed };
            self.gaps.push(gap);
        }
        self.at = at;
    }

    /// Adds the traffic of a port on an interface. What crosses an inner interface crosses an edge as
    /// well, where it is counted.
    pub fn traffic(&mut self, interface: u32, is_edge: bool, port: u16, counters: &PortCounters) {
        // Most ports have none: skip the lookup.
        if *counters == PortCounters::default() {
            return;
        }
        let series = Series { port, interface, kind: SeriesKind::Packets };
        self.advance(series, Cursor::of_packets(counters), is_edge);
    }

    /// The same of a rare protocol.
    pub fn rare_traffic(
        &mut self,
        interface: u32,
        is_edge: bool,
        port: u16,
        protocol: Protocol,
        counters: &RareCounters,
    ) {
        let series = Series { port, interface, kind: SeriesKind::Rare(protocol) };
        self.advance(series, Cursor::of_rare(counters), is_edge);
    }

    /// Adds the binds of a port.
    pub fn sockets(&mut self, port: u16, counters: &SocketCounters) {
        for protocol in Protocol::COMMON {
            let kind = SeriesKind::Binds(protocol);
            let cursor = Cursor::of_binds(&counters.binds[protocol as usize]);
            self.advance(Series { port, interface: 0, kind }, cursor, true);
        }
    }

    /// The same of a rare protocol.
    pub fn rare_sockets(&mut self, port: u16, protocol: Protocol, counters: &RareSocketCounters) {
        let kind = SeriesKind::Binds(protocol);
        self.advance(Series { port, interface: 0, kind }, Cursor::of_binds(&counters.binds), true);
    }

    /// The state of a port at this reading.
    pub fn state(&mut self, port: u16, state: PortState, dormant: bool) {
        if state != PortState::Quiet && self.passed_ns > 0 {
            let passed_ns = self.passed_ns;
            self.today(port).states[state as usize] += passed_ns;
        }
        const IDLE: (PortState, bool) = (PortState::Quiet, true);
        let now = (state, dormant);
        if self.states.get(&port).copied().unwrap_or(IDLE) == now || !self.may_keep_state(port) {
            return;
        }
        if now == IDLE {
            self.states.remove(&port);
        } else {
            self.states.insert(port, now);
        }
        self.new_states.push(StateChange { port, at: self.at.wall, state, dormant });
    }

    /// Ports whose last state was not both quiet and dormant: [`Self::state`] has to be called for them.
    pub fn noted_ports(&self) -> impl Iterator<Item = u16> {
        self.states.keys().copied()
    }

    /// Ends the readings of counters: the next one counts all that there are.
    pub fn finish_reading(&mut self) {
        self.adopts_counts = false;
    }

    /// A row of the kernel's table of talkers.
    pub fn talker(&mut self, port: u16, protocol: Protocol, address: IpAddr, counts: [u64; 4]) {
        let before = self.talkers.insert((port, protocol, address), counts);
        if self.adopts_talkers {
            return;
        }
        let grown = TalkerCount::grown(counts, before);
        if grown != TalkerCount::default() {
            self.today(port).talkers.add(address.to_canonical(), grown);
        }
    }

    /// Ends a reading of the table: rows that are not among those of this reading are gone.
    pub fn finish_talkers(&mut self, present: &HashSet<(u16, Protocol, IpAddr)>) {
        self.adopts_talkers = false;
        self.talkers.retain(|key, _| present.contains(key));
    }

    /// The remote addresses of a port in a window of time that began at `since`. Readings of a window
    /// may be repeated.
    pub fn sketch(&mut self, port: u16, protocol: Protocol, since: Timestamp, sketch: &Sketch) {
        let hash = self.hasher.hash_one(sketch.registers);
        // Two readings of the clock that differ by less are of the same window.
        let window = (since.as_second() + 5).div_euclid(10);
        if self.sketches.insert((port, protocol, window), hash) == Some(hash) {
            return;
        }
        let seed = SeedTag::of(self.seed);
        let record = self.days.entry((Day::of(since), port)).or_default();
        record.addresses.add(seed, sketch);
        if self.sketches.len() > 4096 {
            self.sketches.clear();
        }
    }

    /// Binds of a program, by their events. The kernel's counters have those that had no event, too.
    pub fn bound(&mut self, port: u16, at: Timestamp, program: Program, count: BindCount) {
        self.days.entry((Day::of(at), port)).or_default().add_bind(program, count);
    }

    /// A holder bound the port, at a time and a `CLOCK_BOOTTIME`.
    pub fn holds(&mut self, port: u16, protocol: Protocol, holder: Holder, at: (Timestamp, u64)) {
        self.holdings.bound(protocol, port, holder, at);
    }

    /// A process closed a socket that held the port, and whether it was the last one there.
    pub fn released(
        &mut self,
        port: u16,
        protocol: Protocol,
        holder: &Holder,
        (at, was_last): (Timestamp, bool),
    ) {
        self.holdings.closed(protocol, port, holder, (at, was_last));
    }

    /// All holders that a scan found.
    pub fn scanned(
        &mut self,
        at: ClockReading,
        found: impl IntoIterator<Item = (Protocol, u16, Holder)>,
    ) {
        self.holdings.scanned((at.wall, at.boottime_ns), found);
    }

    /// A payload was identified.
    pub fn identified(&mut self, port: u16, at: Timestamp, verdict: &str) {
        self.days.entry((Day::of(at), port)).or_default().add_verdict(verdict, 1);
    }

    /// Events lost so far. What the first call has is of the time before.
    pub fn lost(&mut self, total: u64) {
        let before = self.lost.replace(total).unwrap_or(total);
        let grown = total.saturating_sub(before);
        if grown > 0 {
            self.host.entry(Day::of(self.at.wall)).or_default().lost += grown;
        }
    }

    /// Returns what has changed since the last call.
    pub fn take_changes(&mut self) -> ChronicleChanges {
        let (holdings, unkept) = self.holdings.take_changes();
        if unkept > 0 {
            self.host.entry(Day::of(self.at.wall)).or_default().unkept += unkept;
        }
        let cursors = std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|series| Some((series, *self.cursors.get(&series)?)))
            .collect();
        let mut talkers: Vec<TalkerCursor> = self
            .talkers
            .iter()
            .map(|((port, protocol, address), counts)| TalkerCursor {
                port: *port,
                protocol: *protocol as u8,
                address: *address,
                counts: *counts,
            })
            .collect();
        talkers.sort_by_key(|row| std::cmp::Reverse(row.counts[0] + row.counts[1]));
        talkers.truncate(MOST_TALKER_CURSORS);
        let chronicle = SavedChronicle {
            began: self.began,
            wall: self.at.wall,
            boottime_ns: self.at.boottime_ns,
            boot_id: self.boot_id.clone(),
            counters_id: self.counters_id.clone(),
            seed: self.seed,
            next_holding: self.holdings.next_id(),
            states: self.states.clone(),
            talkers,
        };
        ChronicleChanges {
            chronicle,
            forgets_cursors: std::mem::take(&mut self.forgets_cursors),
            cursors,
            days: std::mem::take(&mut self.days),
            host: std::mem::take(&mut self.host),
            gaps: std::mem::take(&mut self.gaps),
            states: std::mem::take(&mut self.new_states),
            watched: std::mem::take(&mut self.new_watched),
            holdings,
        }
    }

    /// Takes back changes that could not be saved.
    pub fn requeue(&mut self, changes: ChronicleChanges) {
        let later = self.take_changes();
        let all = changes.followed_by(later);
        self.dirty.extend(all.cursors.into_keys());
        self.forgets_cursors = all.forgets_cursors;
        (self.days, self.host) = (all.days, all.host);
        (self.gaps, self.new_states, self.new_watched) = (all.gaps, all.states, all.watched);
        self.holdings.requeue(all.holdings);
    }

    /// Marks everything that is still known as unsaved, because the saved history was lost. Its days are
    /// gone: the history begins now.
    pub fn mark_unsaved(&mut self) {
        self.began = self.at.wall;
        self.dirty.extend(self.cursors.keys());
        self.holdings.mark_unsaved();
        let at = self.at.wall;
        self.new_watched = self
            .watched
            .keys()
            .map(|port| WatchChange { port: *port, at, watched: true })
            .collect();
        self.new_states.extend(self.states.iter().map(|(port, (state, dormant))| StateChange {
            port: *port,
            at,
            state: *state,
            dormant: *dormant,
        }));
    }

    fn advance(&mut self, series: Series, now: Cursor, counts: bool) {
        let before = match self.cursors.get_mut(&series) {
            Some(before) if *before == now => return,
            Some(before) => std::mem::replace(before, now),
            None if now.is_zero() => return,
            None => {
                self.cursors.insert(series, now);
                Cursor::default()
            }
        };
        self.dirty.insert(series);
        if counts && !self.adopts_counts {
            let second = self.at.wall.as_second();
            now.since(&before).add_to(self.today(series.port), series.kind, second);
        }
    }

    fn today(&mut self, port: u16) -> &mut DayRecord {
        self.days.entry((Day::of(self.at.wall), port)).or_default()
    }

    /// Whether a change of the state is kept: not every one of a port that changes it all the time.
    fn may_keep_state(&mut self, port: u16) -> bool {
        let now = self.at.wall;
        if self.state_changes.0 != Day::of(now) {
            self.state_changes = (Day::of(now), HashMap::new());
        }
        let (changes, kept_at) = self.state_changes.1.entry(port).or_default();
        let second = now.as_second();
        if *changes >= MOST_STATE_CHANGES && (second - *kept_at).abs() < CROWDED_STATE_SECONDS {
            return false;
        }
        *changes = changes.saturating_add(1);
        *kept_at = second;
        true
    }
}

/// How long no agent looked: by `CLOCK_BOOTTIME` within a boot, otherwise by the wall clock, and at least
/// for as long as the machine is up.
fn length_of_gap(saved: &SavedChronicle, start: &Start) -> u64 {
    let now_ns = start.at.boottime_ns;
    match now_ns.checked_sub(saved.boottime_ns) {
        Some(length) if saved.boot_id == start.boot_id => length,
        _ => {
            let by_wall = start.at.wall.duration_since(saved.wall).as_nanos();
            u64::try_from(by_wall).unwrap_or(0).max(now_ns)
        }
    }
}
