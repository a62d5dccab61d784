//! The ledger itself: its ports, its clock, and what has to be saved.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use crate::{
    clock::ClockReading,
    coverage::CoverageClock,
    facts::PortFacts,
    history::Suspected,
    listeners::{self, Baseline, Moment},
    observation::{FoundHeld, Held, SocketCall, Start, Watched},
    port::{Activity, DormantSince, Port},
    saved::{Changes, RestoreError, Saved, SavedPort, VERSION},
    transition::{BindEvidence, Change, Transition, Wake},
};

/// The state of every watched port.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) clock: CoverageClock,
    pub(super) ports: BTreeMap<u16, Port>,
    /// Ports that are no longer watched. The counters keep their values, so a port that is watched
    /// again continues from its old counts.
    unwatched: BTreeMap<u16, Port>,
    /// Ports that the passing of time can change; `tick` skips all others.
    pub(super) active: BTreeSet<u16>,
    /// Ports that differ from what was saved; a port that is no longer known has to be deleted.
    pub(super) dirty: BTreeSet<u16>,
    /// Interfaces of the last reading, by index, ascending.
    pub(super) interfaces: Vec<u32>,
    /// Whether the next reading covers time before this ledger existed.
    pub(super) adopts_counts: bool,
    /// Start of the last socket scan, `CLOCK_BOOTTIME`; the scan includes earlier calls.
    scanned_at_ns: Option<u64>,
    /// Covered time up to that scan. A holder with an unobserved bind came later.
    scanned_covered_ns: u64,
    /// Wall clock time of the last reading.
    pub(super) wall: Timestamp,
    boot_id: String,
    counters_id: String,
    listeners: Baseline,
}

impl Ledger {
    /// Creates an empty ledger.
    pub fn new(start: Start) -> Self {
        Self {
            clock: CoverageClock::begin(&start),
            ports: BTreeMap::new(),
            unwatched: BTreeMap::new(),
            active: BTreeSet::new(),
            dirty: BTreeSet::new(),
            interfaces: Vec::new(),
            adopts_counts: start.counters.adopted,
            scanned_at_ns: None,
            scanned_covered_ns: 0,
            wall: start.at.wall,
            boot_id: start.boot_id,
            counters_id: start.counters.id,
            listeners: Baseline::default(),
        }
    }

    /// Restores a saved ledger.
    ///
    /// # Errors
    ///
    /// Fails if the ledger was saved in another version of its format.
    pub fn restore(
        saved: &Saved,
        ports: impl IntoIterator<Item = (u16, SavedPort)>,
        start: Start,
    ) -> Result<Self, RestoreError> {
        if saved.version != VERSION {
            return Err(RestoreError(saved.version));
        }
        let clock = CoverageClock::resume(saved, &start);
        let same_boot = saved.boot_id == start.boot_id;
        let same_counters = saved.counters_id == start.counters.id;
        let scanned_covered_ns = saved.scanned_covered_ns;
        let mut ledger =
            Self { clock, scanned_covered_ns, adopts_counts: false, ..Self::new(start) };
        for (number, saved) in ports {
            let mut port = Port::from(saved);
            if let Some(history) = &mut port.history {
                history.resume(ledger.clock.covered_ns(), same_boot, same_counters);
                // Saved ports belong to the boot and the counters that the ledger is saved with.
                ledger.dirty.insert(number);
            }
            ledger.ports.insert(number, port);
            ledger.active.insert(number);
        }
        Ok(ledger)
    }

    /// Restores the baseline of listeners that was saved with the ledger.
    pub fn restore_listeners(
        &mut self,
        saved: &Saved,
        entries: impl IntoIterator<Item = (u32, listeners::Entry)>,
    ) {
        let covered_ns = self.clock.covered_ns();
        self.listeners.restore(saved.listeners.unwrap_or_default(), entries, covered_ns);
    }

    /// The baseline of listeners.
    pub const fn listeners(&self) -> &Baseline {
        &self.listeners
    }

    /// The baseline of listeners, to be learned from or to be compared with.
    pub const fn listeners_mut(&mut self) -> &mut Baseline {
        &mut self.listeners
    }

    /// `at` as the baseline of listeners measures time.
    pub fn moment(&self, at: ClockReading) -> Moment {
        Moment { covered_ns: self.clock.covered_at(at.boottime_ns), wall: at.wall }
    }

    /// Watches these ports from now on, and no others. A new port starts dormant. A port that was
    /// dormant when it was last watched is dormant since now, because it was not observed meanwhile.
    pub fn watch(&mut self, ports: impl IntoIterator<Item = Watched>, now: ClockReading) {
        let covered_ns = self.clock.covered_at(now.boottime_ns);
        let since = DormantSince { covered_ns, wall: now.wall };
        let mut before = std::mem::take(&mut self.ports);
        for Watched { port: number, dormant_after, has_owners } in ports {
            let mut port = before.remove(&number).unwrap_or_else(|| {
                self.dirty.insert(number);
                let known = self.unwatched.remove(&number);
                self.active.extend(known.is_some().then_some(number));
                known.map_or_else(|| Port::new(since), |port| port.watched_again(since))
            });
            port.dormant_after_ns = u64::try_from(dormant_after.as_nanos()).unwrap_or(u64::MAX);
            port.has_owners = has_owners;
            self.ports.insert(number, port);
        }
        self.dirty.extend(before.keys());
        let known = before.into_iter().filter(|(_, port)| port.history.is_some());
        self.unwatched.extend(known.map(|(number, port)| (number, port.into_unwatched())));
        self.active.retain(|number| self.ports.contains_key(number));
    }

    /// Records a socket call; ignores it if the port is not watched.
    pub fn record_call(&mut self, call: &SocketCall, out: &mut Vec<Transition>) {
        self.record_calls(call, 1, out);
    }

    /// Records `count` alike socket calls, of which `call` is the last one.
    pub fn record_calls(&mut self, call: &SocketCall, count: u64, out: &mut Vec<Transition>) {
        let SocketCall { at, port: number, protocol, kind, expected } = *call;
        let wake = Wake::Bind { protocol, evidence: kind.evidence(), expected: Some(expected) };
        let is_counted = self.scanned_at_ns.is_some_and(|looked| at.boottime_ns <= looked);
        let age_ns = self.clock.age_at(at.boottime_ns);
        let activity = self.activity(wake, at);
        let note = |port: &mut Port, is_newer: bool| {
            let Some(history) = &mut port.history else { return };
            history.note_calls(call, count, is_newer, age_ns);
            if !is_counted {
                history.count_sockets(call, count);
            }
        };
        self.record_activity(number, &activity, at, note, out);
    }

    /// Records the result of a socket scan that started at `at`.
    ///
    /// `held` lists all sockets that hold a port. A port may occur more than once, for each network
    /// namespace for instance; a port that does not occur has no holder. If a port had a socket call
    /// after `at`, the scan may be out of date for it and the next one decides. Record every call up
    /// to the end of the scan before the scan itself.
    ///
    /// Returns the ports that had no known holder before, and those whose holders were all expected
    /// and no longer are.
    pub fn record_holders(
        &mut self,
        at: ClockReading,
        held: impl IntoIterator<Item = Held>,
        out: &mut Vec<Transition>,
    ) -> Vec<FoundHeld> {
        for found in held {
            let Some(port) = self.ports.get_mut(&found.port) else { continue };
            let sockets = &mut port.history.get_or_insert_default().found[found.protocol];
            sockets.count = sockets.count.saturating_add(found.sockets);
            sockets.can_answer |= found.can_answer;
            sockets.can_accept |= found.can_accept;
            sockets.expected = sockets.expected.saturating_add(found.expected);
            sockets.unexpected = sockets.unexpected.saturating_add(found.unexpected);
            self.active.insert(found.port);
        }
        let active = std::mem::take(&mut self.active);
        let mut found = Vec::new();
        for number in &active {
            self.reconcile(*number, at, out, &mut found);
        }
        self.active.extend(active);
        self.scanned_at_ns = Some(at.boottime_ns);
        self.scanned_covered_ns =
            self.clock.covered_at(at.boottime_ns).min(self.clock.covered_ns());
        found
    }

    /// Counts unexpected binds for `sockets` of the sockets in `found`, without those that are
    /// counted already.
    pub fn count_unexpected_binds(&mut self, found: &FoundHeld, sockets: u64) {
        let &FoundHeld { port, protocol, unreported_binds } = found;
        let history = self.ports.get_mut(&port).and_then(|port| port.history.as_mut());
        if let Some(history) = history {
            let uncounted = sockets.saturating_sub(unreported_binds);
            history.unexpected_binds[protocol] += uncounted;
            // The next reading may count them too.
            history.reported_binds[protocol] += uncounted;
            self.dirty.insert(port);
        }
    }

    /// Counts unexpected binds that were taken for expected ones when they were recorded.
    pub fn count_misjudged_binds(&mut self, port: u16, protocol: Protocol, binds: u64) {
        let history = self.ports.get_mut(&port).and_then(|port| port.history.as_mut());
        if let Some(history) = history {
            history.unexpected_binds[protocol] += binds;
            self.dirty.insert(port);
        }
    }

    /// Ports and protocols with answers that no socket is known to have given: they wait for a socket
    /// scan.
    pub fn suspected_answers(&self) -> impl Iterator<Item = (u16, Protocol)> {
        self.active.iter().flat_map(|number| {
            let history = self.ports.get(number).and_then(|port| port.history.as_ref());
            let is_suspected = move |protocol: &Protocol| {
                history.is_some_and(|history| history.suspected[*protocol].answers > 0)
            };
            Protocol::ALL.into_iter().filter(is_suspected).map(|protocol| (*number, protocol))
        })
    }

    /// Whether packets of the port arrived at an address of this host in the minutes before `now`.
    pub fn has_received(&self, port: u16, protocol: Protocol, now: ClockReading) -> bool {
        let age_ns = self.clock.age_at(now.boottime_ns);
        let history = self.ports.get(&port).and_then(|port| port.history.as_ref());
        history.is_some_and(|history| history.has_received(protocol, age_ns))
    }

    /// Drops the suspicion of answers that something else explains.
    pub fn dismiss_answers(&mut self, port: u16, protocol: Protocol) {
        let history = self.ports.get_mut(&port).and_then(|port| port.history.as_mut());
        if let Some(history) = history {
            history.suspected[protocol] = Suspected::default();
        }
    }

    /// Facts about a port; `None` if it is not watched.
    pub fn facts(&self, port: u16) -> Option<PortFacts> {
        self.ports.get(&port).map(Port::facts)
    }

    /// Facts about every watched port, in ascending order.
    pub fn all_facts(&self) -> impl ExactSizeIterator<Item = (u16, PortFacts)> {
        self.ports.iter().map(|(number, port)| (*number, port.facts()))
    }

    /// Ports that the passing of time can change: all others are quiet and dormant.
    pub fn active_ports(&self) -> impl Iterator<Item = u16> {
        self.active.iter().copied()
    }

    /// Sum of all coverage gaps since the ledger began.
    pub const fn coverage_gap(&self) -> Duration {
        Duration::from_nanos(self.clock.gap_ns())
    }

    /// How long ago the ledger began, as of `now`, gaps included.
    pub const fn time_since_begin(&self, now: ClockReading) -> Duration {
        Duration::from_nanos(self.clock.since_begin_ns(now.boottime_ns))
    }

    /// Returns what has changed since the last call, for the store.
    pub fn take_changes(&mut self) -> Changes {
        let last_reading_ns = self.clock.last_reading_ns();
        let ledger = Saved {
            version: VERSION,
            wall: self.wall,
            boottime_ns: last_reading_ns,
            boot_id: self.boot_id.clone(),
            counters_id: self.counters_id.clone(),
            covered_ns: self.clock.covered_ns(),
            age_ns: self.clock.age_at(last_reading_ns),
            gap_ns: self.clock.gap_ns(),
            scanned_covered_ns: self.scanned_covered_ns,
            listeners: Some(self.listeners.saved()),
        };
        let dirty = std::mem::take(&mut self.dirty);
        let known = |number: u16| self.ports.get(&number).or_else(|| self.unwatched.get(&number));
        let saved = |number| (number, known(number).map(SavedPort::from));
        let listeners = self.listeners.take_changes();
        Changes { ledger, ports: dirty.into_iter().map(saved).collect(), listeners }
    }

    /// Marks changes that could not be saved, so that the next call returns them again.
    pub fn requeue(&mut self, changes: &Changes) {
        self.dirty.extend(changes.ports.iter().map(|(number, _)| *number));
        self.listeners.requeue(changes.listeners.iter().map(|(id, _)| *id));
    }

    /// Marks everything as unsaved, because the saved ledger was lost.
    pub fn mark_unsaved(&mut self) {
        self.dirty.extend(self.ports.keys().chain(self.unwatched.keys()));
        self.listeners.mark_unsaved();
    }

    /// Activity at `at`, with the time up to which earlier activity is known.
    pub(super) fn activity(&self, wake: Wake, at: ClockReading) -> Activity {
        let covered_ns = self.clock.covered_ns();
        Activity {
            at_ns: self.clock.covered_at(at.boottime_ns),
            known_until_ns: if wake.is_unobserved_bind() {
                self.scanned_covered_ns
            } else {
                covered_ns
            },
            wall: at.wall,
            wake,
        }
    }

    /// Records `activity` on a watched port and updates its state.
    pub(super) fn record_activity(
        &mut self,
        number: u16,
        activity: &Activity,
        at: ClockReading,
        note: impl FnOnce(&mut Port, bool),
        out: &mut Vec<Transition>,
    ) {
        let Some(port) = self.ports.get_mut(&number) else { return };
        let is_newer = port.record_activity(number, activity, out);
        note(port, is_newer);
        let age_ns = self.clock.age_at(at.boottime_ns.max(self.clock.last_reading_ns()));
        port.refresh_state(number, age_ns, at.wall, out);
        self.active.insert(number);
        self.dirty.insert(number);
    }

    /// Replaces the sockets of a port by those that a scan found.
    fn reconcile(
        &mut self,
        number: u16,
        at: ClockReading,
        out: &mut Vec<Transition>,
        found_held: &mut Vec<FoundHeld>,
    ) {
        let Some(port) = self.ports.get_mut(&number) else { return };
        let Some(history) = &mut port.history else { return };
        let found = std::mem::take(&mut history.found);
        let unreported_binds = std::mem::take(&mut history.lost_binds);
        let (before, called_at_ns) = (history.sockets, history.called_at_ns);
        let has_owners = port.has_owners;
        for protocol in Protocol::ALL {
            if called_at_ns[protocol] > at.boottime_ns {
                continue;
            }
            self.judge_answers(number, protocol, found[protocol].can_accept, at, out);
            let was_expected = self.note_scan(number, protocol, found[protocol].unexpected == 0);
            if found[protocol] == before[protocol] {
                continue;
            }
            let is_new = before[protocol].count == 0 && found[protocol].count > 0;
            let has_turned = has_owners && was_expected && found[protocol].unexpected > 0;
            if is_new || has_turned {
                let unreported_binds = unreported_binds[protocol];
                found_held.push(FoundHeld { port: number, protocol, unreported_binds });
            }
            let (evidence, expected) = (BindEvidence::Found, found[protocol].are_expected());
            let activity = self.activity(Wake::Bind { protocol, evidence, expected }, at);
            let note = |port: &mut Port, _| {
                let Some(history) = &mut port.history else { return };
                history.interval.held[protocol] = true;
                history.interval.accepts[protocol] |=
                    before[protocol].can_accept || found[protocol].can_accept;
                history.set_sockets(protocol, found[protocol]);
            };
            self.record_activity(number, &activity, at, note, out);
        }
    }

    /// Notes whether a scan found no unexpected owner. Returns the same of the scan before.
    fn note_scan(&mut self, number: u16, protocol: Protocol, is_expected: bool) -> bool {
        let history = self.ports.get_mut(&number).and_then(|port| port.history.as_mut());
        history.is_some_and(|history| {
            std::mem::replace(&mut history.was_expected[protocol], is_expected)
        })
    }

    /// Decides, by a scan, whether suspected answers came from a socket of this host.
    fn judge_answers(
        &mut self,
        number: u16,
        protocol: Protocol,
        is_explained: bool,
        at: ClockReading,
        out: &mut Vec<Transition>,
    ) {
        let age_ns = self.clock.age_at(at.boottime_ns.max(self.clock.last_reading_ns()));
        let Some(port) = self.ports.get_mut(&number) else { return };
        let Some(history) = &mut port.history else { return };
        if is_explained {
            // The socket was there before the first scan: its answers were counted before it was
            // known.
            if std::mem::take(&mut history.suspected[protocol]).answers > 0 {
                history.answered_at_ns[protocol] = Some(age_ns);
                self.dirty.insert(number);
            }
            return;
        }
        let confirmed = history.confirm_answers(protocol, at.boottime_ns, age_ns);
        let Some((answers, is_new)) = confirmed else { return };
        let change = Change::Answered { protocol, answers, is_new };
        out.push(Transition { port: number, time: at.wall, change });
        port.refresh_state(number, age_ns, at.wall, out);
        self.dirty.insert(number);
    }

    /// Records packets that passed through this host on their way between others. They are no
    /// activity of the port.
    pub(super) fn record_transit(
        &mut self,
        number: u16,
        age_ns: u64,
        wall: Timestamp,
        out: &mut Vec<Transition>,
    ) {
        let Some(port) = self.ports.get_mut(&number) else { return };
        port.history.get_or_insert_default().transit_at_ns = Some(age_ns);
        port.refresh_state(number, age_ns, wall, out);
        self.active.insert(number);
        self.dirty.insert(number);
    }

    /// Applies the passing of time: dormancy and states that expire.
    pub(super) fn tick(&mut self, at: ClockReading, out: &mut Vec<Transition>) {
        let age_ns = self.clock.age_at(at.boottime_ns);
        let (protocol, evidence) = (Protocol::Tcp, BindEvidence::Found);
        let found = self.activity(Wake::Bind { protocol, evidence, expected: None }, at);
        let (ports, dirty) = (&mut self.ports, &mut self.dirty);
        self.active.retain(|number| {
            let Some(port) = ports.get_mut(number) else { return false };
            let before = out.len();
            port.tick(*number, &found, age_ns, out);
            if out.len() > before {
                dirty.insert(*number);
            }
            !port.is_idle()
        });
    }

    /// Forgets interfaces that are gone. The kernel does not reuse their indices.
    pub(super) fn forget_interfaces(&mut self, remaining: &[u32]) {
        for (number, port) in self.ports.iter_mut().chain(&mut self.unwatched) {
            let history = port.history.as_mut();
            if history.is_some_and(|history| history.retain_interfaces(remaining)) {
                self.dirty.insert(*number);
            }
        }
    }
}
