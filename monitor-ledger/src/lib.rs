//! The ledger: what became of every watched port, from events, counters and two clocks.
//!
//! Pure: it is told what happened and when, and tells what follows. It reads no clock, and it
//! keeps nothing by itself; [`Ledger::take_changes`] is for the store.
//!
//! # Dormancy
//!
//! A port is dormant from the start, and again after `dormant_after` of *covered* time without
//! bind, holder or packet. Covered is the time between two finished readings of the counters that
//! are at most [`LONGEST_SILENCE_NS`] apart; everything else is a coverage gap. Durations are taken
//! on the covered axis alone, so that neither a gap nor a step of the time of day can make one
//! longer. `dormant_for` goes from the time at which the port was found dormant up to the last
//! reading before the awakening, because no packet is known of earlier; where a socket was bound
//! unseen, up to the last look at all sockets before.
//!
//! The first thing that happens at a dormant port awakens it, once: a packet, whichever way it goes
//! and whose end of it the port is, a bind, also a refused one, or a socket that is found open.
//! What is told late, and happened before the last thing known of the port, awakens nobody.
//!
//! # Gaps
//!
//! Time without an agent counts for nothing, but what the kernel counted in it is known: counters
//! of the same life ([`CounterEpoch`]) that have grown since the ledger was saved awaken a dormant
//! port at the first reading, with the time that it had slept before the gap. Counters of another
//! life have grown from zero. A ledger that was never saved takes over what older counters say as
//! it is, because nobody knows when that was.
//!
//! A gap begins when the ledger was last saved, not when the agent ended: what an agent saw and
//! could not save before a crash is as if nobody had looked. The kernel's counters, which survive
//! that, tell of it once more.
//!
//! # States
//!
//! See [`PortState`]. A packet belongs to a holder if a socket of its protocol held the port at
//! some time since the reading before. Talk over loopback is never *outbound*.
//!
//! # Use
//!
//! About once a second: drain the event ring, then read. Every few seconds: look at all sockets.
//! Every few seconds, and after an awakening: save. At the end: drain, read, save.
//! [`Ledger::watch`] comes first, after [`Ledger::restore`] as well.
//!
//! ```
//! use std::time::Duration;
//! use monitor_ledger::{
//!     CallKind, Change, CounterEpoch, Ledger, Moment, SocketCall, Start, Watched,
//! };
//! use jiff::Timestamp;
//! use monitor_common::flow::{PortCounters, Protocol};
//!
//! let at = |seconds: u64| Moment {
//!     wall: Timestamp::from_second(1_700_000_000 + seconds as i64).unwrap(),
//!     boottime_ns: seconds * 1_000_000_000,
//! };
//! let counters = CounterEpoch { id: "made by this agent".into(), adopted: false };
//! let mut ledger = Ledger::new(Start { at: at(0), boot_id: "boot".into(), counters });
//! let dormant_after = Duration::from_secs(60);
//! ledger.watch([Watched { port: 2948, dormant_after, has_owners: false }], at(0));
//!
//! let mut told = Vec::new();
//! // From the event ring.
//! let kind = CallKind::Bind { expected: false };
//! ledger.call(&SocketCall { at: at(5), port: 2948, protocol: Protocol::Udp, kind }, &mut told);
//! // From the counters.
//! let mut reading = ledger.read(at(6), &mut told);
//! reading.traffic(2, 2948, &PortCounters::default());
//! reading.finish();
//!
//! assert!(matches!(told[0].change, Change::Awakened { .. }));
//! let facts = ledger.facts(2948).unwrap();
//! assert!(!facts.is_dormant() && facts.bound_sockets(Protocol::Udp) == 1);
//! ```

#![forbid(unsafe_code)]

mod counts;
mod facts;
mod history;
mod moment;
mod observation;
mod port;
mod reading;
mod saved;
mod state;
#[cfg(test)]
mod tests;
mod timeline;
mod transition;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

pub use self::{
    facts::PortFacts,
    moment::Moment,
    observation::{CallKind, CounterEpoch, FoundHeld, Held, SocketCall, Start, Watched},
    reading::Reading,
    saved::{Changes, RestoreError, Saved, SavedPort, VERSION},
    state::PortState,
    timeline::LONGEST_SILENCE_NS,
    transition::{BindEvidence, Cause, Change, Transition, Wake},
};
use self::{
    port::{DormantSince, Evidence, Port},
    timeline::Timeline,
};

/// What became of every watched port.
#[derive(Clone, Debug)]
pub struct Ledger {
    timeline: Timeline,
    ports: BTreeMap<u16, Port>,
    /// Ports that are watched no more, for as long as the counters may say of them what they said
    /// then: watched again, they go on from there.
    aside: BTreeMap<u16, Port>,
    /// Ports that time alone can change: nobody else needs a look.
    lively: BTreeSet<u16>,
    /// Ports that were not saved as they are; those that are not known any more are to be removed.
    dirty: BTreeSet<u16>,
    /// Interfaces of the last reading, by index, ascending.
    interfaces: Vec<u32>,
    /// Whether the next reading tells of a time before this ledger.
    adopts: bool,
    /// When the last look at all sockets began, `CLOCK_BOOTTIME`: earlier calls are in it.
    looked_at_ns: Option<u64>,
    /// Covered time up to that look: who held a port unseen was not there yet.
    looked_covered_ns: u64,
    /// Time of day of the last reading.
    wall: Timestamp,
    boot_id: String,
    counters_id: String,
}

impl Ledger {
    /// A ledger that knows nothing.
    pub fn new(start: Start) -> Self {
        Self {
            timeline: Timeline::begin(&start),
            ports: BTreeMap::new(),
            aside: BTreeMap::new(),
            lively: BTreeSet::new(),
            dirty: BTreeSet::new(),
            interfaces: Vec::new(),
            adopts: start.counters.adopted,
            looked_at_ns: None,
            looked_covered_ns: 0,
            wall: start.at.wall,
            boot_id: start.boot_id,
            counters_id: start.counters.id,
        }
    }

    /// Goes on with a ledger that was saved.
    ///
    /// # Errors
    ///
    /// It is of a later version.
    pub fn restore(
        saved: &Saved,
        ports: impl IntoIterator<Item = (u16, SavedPort)>,
        start: Start,
    ) -> Result<Self, RestoreError> {
        if saved.version != VERSION {
            return Err(RestoreError(saved.version));
        }
        let timeline = Timeline::resume(saved, &start);
        let same_boot = saved.boot_id == start.boot_id;
        let same_counters = saved.counters_id == start.counters.id;
        let looked_covered_ns = saved.looked_covered_ns;
        let mut ledger = Self { timeline, looked_covered_ns, adopts: false, ..Self::new(start) };
        for (number, saved) in ports {
            let mut port = Port::from(saved);
            if let Some(history) = &mut port.history {
                history.resume(ledger.timeline.covered_ns(), same_boot, same_counters);
                // What is saved is of the boot and the counters that the ledger is saved with.
                ledger.dirty.insert(number);
            }
            ledger.ports.insert(number, port);
            ledger.lively.insert(number);
        }
        Ok(ledger)
    }

    /// Watches these ports from now on, and lays others aside. One that is new is dormant; so is one
    /// that was dormant when it was laid aside, anew from now on, because nobody looked since.
    pub fn watch(&mut self, ports: impl IntoIterator<Item = Watched>, now: Moment) {
        let covered_ns = self.timeline.covered_at(now.boottime_ns);
        let since = DormantSince { covered_ns, wall: now.wall };
        let mut before = std::mem::take(&mut self.ports);
        for Watched { port: number, dormant_after, has_owners } in ports {
            let mut port = before.remove(&number).unwrap_or_else(|| {
                self.dirty.insert(number);
                let known = self.aside.remove(&number);
                self.lively.extend(known.is_some().then_some(number));
                known.map_or_else(|| Port::new(since), |port| port.taken_up(since))
            });
            port.dormant_after_ns = u64::try_from(dormant_after.as_nanos()).unwrap_or(u64::MAX);
            port.has_owners = has_owners;
            self.ports.insert(number, port);
        }
        self.dirty.extend(before.keys());
        let known = before.into_iter().filter(|(_, port)| port.history.is_some());
        self.aside.extend(known.map(|(number, port)| (number, port.laid_aside())));
        self.lively.retain(|number| self.ports.contains_key(number));
    }

    /// Takes note of a socket call; of one on a port that is not watched, none.
    pub fn call(&mut self, call: &SocketCall, out: &mut Vec<Transition>) {
        let SocketCall { at, port: number, protocol, kind } = *call;
        let wake = Wake::Bind { protocol, evidence: kind.evidence() };
        let is_counted = self.looked_at_ns.is_some_and(|looked| at.boottime_ns <= looked);
        let age_ns = self.timeline.age_at(at.boottime_ns);
        let evidence = self.known(wake, at);
        let note = |port: &mut Port, is_news: bool| {
            let Some(history) = &mut port.history else { return };
            history.note_call(call, is_news, age_ns);
            if !is_counted {
                history.count_socket(protocol, kind);
            }
        };
        self.witness(number, &evidence, at, note, out);
    }

    /// Takes note of who holds ports: `held` is everything that a look found which began at `at`.
    /// A port may occur more than once, for each network namespace for instance; one that does not
    /// occur is held by nobody. Of a port with a socket call after `at` the look may be too old, and
    /// is left for the next one; every call up to the end of the look is to be told before.
    ///
    /// Returns the ports that were free as far as anybody knew.
    pub fn holders(
        &mut self,
        at: Moment,
        held: impl IntoIterator<Item = Held>,
        out: &mut Vec<Transition>,
    ) -> Vec<FoundHeld> {
        for found in held {
            let Some(port) = self.ports.get_mut(&found.port) else { continue };
            let sockets = &mut port.history.get_or_insert_default().found[found.protocol as usize];
            sockets.count = sockets.count.saturating_add(found.sockets);
            sockets.can_answer |= found.can_answer;
            self.lively.insert(found.port);
        }
        let lively = std::mem::take(&mut self.lively);
        let mut found = Vec::new();
        for number in &lively {
            self.reconcile(*number, at, out, &mut found);
        }
        self.lively.extend(lively);
        self.looked_at_ns = Some(at.boottime_ns);
        self.looked_covered_ns =
            self.timeline.covered_at(at.boottime_ns).min(self.timeline.covered_ns());
        found
    }

    /// Counts the binds of so many of the sockets that were `found`, whose owners are not expected,
    /// unless they were counted already.
    pub fn found_unexpected(&mut self, found: &FoundHeld, sockets: u64) {
        let &FoundHeld { port, protocol, untold_binds } = found;
        let history = self.ports.get_mut(&port).and_then(|port| port.history.as_mut());
        if let Some(history) = history {
            let uncounted = sockets.saturating_sub(untold_binds);
            history.unexpected_binds[protocol as usize] += uncounted;
            // The counters may be about to tell of them.
            history.told_binds[protocol as usize] += uncounted;
            self.dirty.insert(port);
        }
    }

    /// Begins a reading of the kernel's counters.
    pub fn read<'a>(&'a mut self, at: Moment, out: &'a mut Vec<Transition>) -> Reading<'a> {
        Reading { ledger: self, at, out, interfaces: Vec::new() }
    }

    /// What is known of a port; `None` if it is not watched.
    pub fn facts(&self, port: u16) -> Option<PortFacts> {
        self.ports.get(&port).map(Port::facts)
    }

    /// What is known of every watched port, in ascending order.
    pub fn all_facts(&self) -> impl ExactSizeIterator<Item = (u16, PortFacts)> {
        self.ports.iter().map(|(number, port)| (*number, port.facts()))
    }

    /// Time in which nobody looked, since the ledger began; all gaps together.
    pub const fn coverage_gap(&self) -> Duration {
        Duration::from_nanos(self.timeline.gap_ns())
    }

    /// What has changed since this was last called, for the store.
    pub fn take_changes(&mut self) -> Changes {
        let read_at_ns = self.timeline.read_at_ns();
        let ledger = Saved {
            version: VERSION,
            wall: self.wall,
            boottime_ns: read_at_ns,
            boot_id: self.boot_id.clone(),
            counters_id: self.counters_id.clone(),
            covered_ns: self.timeline.covered_ns(),
            age_ns: self.timeline.age_at(read_at_ns),
            gap_ns: self.timeline.gap_ns(),
            looked_covered_ns: self.looked_covered_ns,
        };
        let dirty = std::mem::take(&mut self.dirty);
        let known = |number: u16| self.ports.get(&number).or_else(|| self.aside.get(&number));
        let saved = |number| (number, known(number).map(SavedPort::from));
        Changes { ledger, ports: dirty.into_iter().map(saved).collect() }
    }

    /// Takes back changes that could not be saved: they will be among the next ones.
    pub fn give_back(&mut self, changes: &Changes) {
        self.dirty.extend(changes.ports.iter().map(|(number, _)| *number));
    }

    /// Everything is to be saved again: what was saved is gone.
    pub fn mark_unsaved(&mut self) {
        self.dirty.extend(self.ports.keys().chain(self.aside.keys()));
    }

    /// Evidence of what happened at `at`, and how long before it everything is known.
    fn known(&self, wake: Wake, at: Moment) -> Evidence {
        let covered_ns = self.timeline.covered_ns();
        Evidence {
            at_ns: self.timeline.covered_at(at.boottime_ns),
            known_until_ns: if wake.was_bound_unseen() {
                self.looked_covered_ns
            } else {
                covered_ns
            },
            wall: at.wall,
            wake,
        }
    }

    /// Notes `evidence` of a port that is watched, and what follows from it.
    fn witness(
        &mut self,
        number: u16,
        evidence: &Evidence,
        at: Moment,
        note: impl FnOnce(&mut Port, bool),
        out: &mut Vec<Transition>,
    ) {
        let Some(port) = self.ports.get_mut(&number) else { return };
        let is_news = port.witness(number, evidence, out);
        note(port, is_news);
        let age_ns = self.timeline.age_at(at.boottime_ns.max(self.timeline.read_at_ns()));
        port.refresh_state(number, age_ns, at.wall, out);
        self.lively.insert(number);
        self.dirty.insert(number);
    }

    /// Brings the sockets of a port in line with what a look at all of them found.
    fn reconcile(
        &mut self,
        number: u16,
        at: Moment,
        out: &mut Vec<Transition>,
        found_held: &mut Vec<FoundHeld>,
    ) {
        let Some(history) = self.ports.get_mut(&number).and_then(|port| port.history.as_mut())
        else {
            return;
        };
        let found = std::mem::take(&mut history.found);
        let untold_binds = std::mem::take(&mut history.lost_binds);
        let (before, called_at_ns) = (history.sockets, history.called_at_ns);
        for protocol in Protocol::ALL {
            let index = protocol as usize;
            if found[index] == before[index] || called_at_ns[index] > at.boottime_ns {
                continue;
            }
            if before[index].count == 0 && found[index].count > 0 {
                let untold_binds = untold_binds[index];
                found_held.push(FoundHeld { port: number, protocol, untold_binds });
            }
            let evidence = self.known(Wake::Bind { protocol, evidence: BindEvidence::Found }, at);
            let note = |port: &mut Port, _| {
                let Some(history) = &mut port.history else { return };
                history.interval.held[index] = true;
                history.set_sockets(protocol, found[index]);
            };
            self.witness(number, &evidence, at, note, out);
        }
    }

    /// What time alone changes.
    fn settle(&mut self, at: Moment, out: &mut Vec<Transition>) {
        let age_ns = self.timeline.age_at(at.boottime_ns);
        let found =
            |protocol| self.known(Wake::Bind { protocol, evidence: BindEvidence::Found }, at);
        let found = Protocol::ALL.map(found);
        let (ports, dirty) = (&mut self.ports, &mut self.dirty);
        self.lively.retain(|number| {
            let Some(port) = ports.get_mut(number) else { return false };
            let told = out.len();
            port.settle(*number, &found, age_ns, out);
            if out.len() > told {
                dirty.insert(*number);
            }
            !port.is_settled()
        });
    }

    /// An interface that is gone never counts again: its index is not given to another.
    fn forget_interfaces(&mut self, remaining: &[u32]) {
        for (number, port) in self.ports.iter_mut().chain(&mut self.aside) {
            let history = port.history.as_mut();
            if history.is_some_and(|history| history.packets.retain(remaining)) {
                self.dirty.insert(*number);
            }
        }
    }
}

impl CallKind {
    const fn evidence(self) -> BindEvidence {
        match self {
            Self::Bind { .. } => BindEvidence::Bound,
            Self::BindRefused => BindEvidence::Refused,
            Self::Listen => BindEvidence::Listens,
            Self::Close => BindEvidence::Closed,
        }
    }
}
