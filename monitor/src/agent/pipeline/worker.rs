//! The thread of the pipeline.

mod evidence;
mod listeners;
mod long_memory;
mod scans;

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use monitor_common::{
    sample_record::SampleRecord,
    socket_record::{Call, ListenerPart, SocketRecord},
};
use monitor_kernel::{
    clock::{EventClock, SteadyOffset},
    snapshot::Snapshot,
};
use monitor_ledger::{Change, ClockReading, Transition, Watched, days::Chronicle};
use tokio::sync::mpsc;

use super::{
    answered::ReportedPaths,
    calls::{is_our_close, socket_call},
    captures::KnownCaptures,
    evidence_watch::EvidenceWatch,
    first_senders::FirstSenders,
    listener_watch::ListenerWatch,
    message::{Message, Shared, Wanted},
    occupants::OccupantLooks,
    outbound::{LastSenders, OutboundCalls},
    outputs::{Broadcasts, Outputs, STORE_WAIT},
    parts::Parts,
    reported_owners::ReportedOwners,
    shared_hours::SharedHours,
    shared_ledger::{SharedLedger, lock},
};
use crate::{
    agent::{clock, selftests::Selftests},
    api::sender::Sender,
    classification::{Classifier, Finding, Tallies},
    config::{
        CommandLines, IdentifiedEvents, Judgement, ListenersConfig, Pattern, PayloadConfig,
        WatchedPort,
    },
    event::{self, Event, EventBody, EventContext, Repeats},
    listeners::ListenerChange,
    process::{HostFiles, Identity, Inspector, ProcessEnricher},
    sockets::{self, ExpectedOwners},
    summaries::{ExpectedActivity, Summarizer},
};

/// How often the ledger is saved, beside every reading of counters that finds a port changed. It is
/// the most that a crash can make the ledger forget.
const SAVE_PERIOD: Duration = Duration::from_secs(5);

/// The same for the history by day.
const HISTORY_SAVE_PERIOD: Duration = Duration::from_secs(30);

/// The same for unexpected binds, whose count must not go back when the agent is killed.
const UNEXPECTED_SAVE_PERIOD: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    enricher: ProcessEnricher,
    host_files: HostFiles,
    inspector: Inspector,
    evidence: EvidenceWatch,
    clock: SteadyOffset,
    ledger: SharedLedger,
    hours: SharedHours,
    ports: BTreeMap<u16, WatchedPort>,
    payload: PayloadConfig,
    classifier: Classifier,
    tallies: Arc<Mutex<Tallies>>,
    expected_owners: ExpectedOwners,
    /// Names of the interfaces by index, from the last counters.
    interfaces: HashMap<u32, String>,
    /// What events have of command lines. Records that an earlier agent left may have one in any case.
    command_lines: CommandLines,
    context: EventContext,
    /// What is not emitted as it is; `None` if every event is.
    summaries: Option<Summarizer>,
    expected_activity: ExpectedActivity,
    outputs: Outputs,
    /// What is to be saved of the history by day.
    chronicle: Chronicle,
    /// When it was last saved; `None` before the first reading, which the next start has to know.
    history_saved_at: Option<Instant>,
    saved_at: Instant,
    /// Whether a port has changed since `saved_at`.
    has_changes: bool,
    /// Inode of this network namespace.
    netns_inode: Option<u32>,
    /// Whether a scan has been compared with the ledger.
    has_scanned: bool,
    reported_owners: ReportedOwners,
    captures: KnownCaptures,
    shared: Arc<Shared>,
    selftests: Selftests,
    outbound: OutboundCalls,
    first_senders: FirstSenders,
    occupants: OccupantLooks,
    senders: LastSenders,
    /// The ways of answers whose events were emitted.
    answers: ReportedPaths,
    listeners: ListenerWatch,
    /// Transitions that are not emitted yet. The allocation is kept.
    transitions: Vec<Transition>,
}

impl Worker {
    pub(super) fn new(
        parts: Parts,
        shared: Arc<Shared>,
        tallies: Arc<Mutex<Tallies>>,
        broadcasts: Broadcasts,
    ) -> Self {
        let Wanted { ports, payload, identified, listeners, evidence: _ } = parts.wanted;
        let listeners = ListenerWatch::new(listeners);
        lock(&parts.ledger).listeners_mut().configure(listeners.settings());
        parts.host_files.expect(expected_files(&ports, &listeners.config));
        Self {
            enricher: ProcessEnricher::new(parts.command_lines)
                .knowing(parts.host_files.clone())
                .inspecting(parts.inspector.clone()),
            host_files: parts.host_files,
            inspector: parts.inspector,
            evidence: EvidenceWatch::default(),
            clock: SteadyOffset::new(EventClock::Boottime),
            ledger: parts.ledger,
            hours: parts.hours,
            ports: by_number(ports),
            payload,
            classifier: Classifier::default(),
            tallies,
            expected_owners: ExpectedOwners::default(),
            interfaces: HashMap::new(),
            command_lines: parts.command_lines,
            context: parts.context,
            summaries: summaries(identified),
            expected_activity: ExpectedActivity::default(),
            outputs: Outputs::new(parts.queue, parts.store, broadcasts, Arc::clone(&shared)),
            chronicle: parts.chronicle,
            history_saved_at: None,
            saved_at: Instant::now(),
            has_changes: false,
            netns_inode: sockets::own_netns_inode().ok(),
            has_scanned: false,
            captures: KnownCaptures::default(),
            reported_owners: ReportedOwners::default(),
            shared,
            selftests: parts.selftests,
            outbound: OutboundCalls::default(),
            first_senders: FirstSenders::default(),
            occupants: OccupantLooks::default(),
            senders: parts.senders,
            answers: ReportedPaths::default(),
            listeners,
            transitions: Vec::new(),
        }
    }

    /// Runs until every handle is dropped.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.blocking_recv() {
            self.shared.progress.begin();
            self.handle(message);
            self.shared.progress.end();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Call(record) => self.record_call(*record),
            Message::Sample(sample) => self.classify(&sample),
            Message::Counters(at, counters) => {
                self.shared.counters_queued.store(false, Relaxed);
                self.read_counters(at, &counters);
            }
            Message::Scan(scan) => {
                self.reconcile(&scan);
                self.note_holders(&scan);
                match &scan.listeners {
                    Some(found) => self.reconcile_listeners(scan.at, found),
                    None => self.shared.listeners.set(None),
                }
                let new = self.captures.new_of_scan(&scan.captures, scan.at.boottime_ns);
                self.emit_captures(scan.at, &new);
            }
            Message::Captures(at, captures) => {
                let new = self.captures.new_among(&captures, at.boottime_ns);
                self.emit_captures(at, &new);
            }
            Message::Evidence(process, facts) => self.take_evidence(process, &facts),
            Message::Event(event) => {
                if matches!(event.body, EventBody::AgentStopped { .. }) {
                    self.flush_summaries();
                    self.emit_listener_news(true);
                }
                self.emit(*event);
            }
            Message::Configure(wanted, now) => self.configure(wanted, now),
            Message::Flush(done) => {
                self.flush_summaries();
                self.emit_listener_news(true);
                let expected = self.expected_activity.flush(clock::now());
                expected.into_iter().for_each(|summary| self.outputs.emit(summary));
                self.save();
                self.save_history();
                // An error means that the caller has stopped waiting.
                let _ = done.send(());
            }
        }
    }

    fn record_call(&mut self, mut record: SocketRecord) {
        self.context.clock_offset_ns = self.clock.to_wall_clock_ns();
        let Some(time) = self.context.time_of_day(record.last_ns) else {
            return tracing::error!("time {} ns of a socket event is out of range", record.last_ns);
        };
        if let Some(caller) =
            record.caller.as_mut().filter(|_| self.command_lines == CommandLines::Omitted)
        {
            caller.command_line = None;
        }
        let mut caller = self.enricher.identify(&record).filter(|_| !is_our_close(&record));
        if record.is_selftest {
            return self.selftests.record(record.call, self.call(&record, caller.as_ref()));
        }
        if record.call == Call::Connect {
            return self.record_connect(&record, time, caller.as_ref());
        }
        if let Some(change) = ListenerChange::new(&record, time, caller.as_ref()) {
            self.listener_changed(&change);
        }
        if record.listener == ListenerPart::Only {
            return;
        }
        let judgement = self.judge_caller(&record, caller.as_mut());
        let expected = is_expected(judgement);
        // What cannot be judged yet is counted as unexpected when it is known to be.
        let is_pending = judgement == Some(Judgement::Pending);
        if let Some(call) = socket_call(&record, time, is_pending || expected == Some(true)) {
            lock(&self.ledger).record_calls(&call, record.count, &mut self.transitions);
        }
        self.note_call(&record, time, caller.as_ref());
        let mut event = self.event(&record, time, caller.as_ref(), expected);
        if let EventBody::BindFailed(failed) = &mut event.body {
            let Self { occupants, enricher, netns_inode, .. } = self;
            failed.held_by = occupants.held_by(&record, time, *netns_inode, enricher).map(Box::new);
        }
        self.expected_activity.ingest(&event, clock::now().boottime_ns);
        let is_emitted = self.emit(event.clone());
        // The awakening first: the alert of a bind has the name of the event that came first, and the
        // awakening says more.
        self.emit_transitions(Some(&event));
        if is_emitted && let Some(caller) = &caller {
            self.seek_evidence(caller, &event);
        }
        if is_pending && let Some(caller) = &caller {
            self.await_evidence(caller, &event);
        }
        let unexpected = event.unexpected_owner();
        let is_unexpected = unexpected.is_some();
        if let Some(unexpected) = unexpected {
            if let (Some(protocol), Some(caller)) = (record.protocol, &caller) {
                self.reported_owners.add(record.port, protocol, caller, record.last_ns);
            }
            self.emit(unexpected);
            self.has_changes = true;
        }
        if is_unexpected && self.saved_at.elapsed() >= UNEXPECTED_SAVE_PERIOD {
            self.save();
        }
        if self.ports.contains_key(&record.port) && record.call.errno().is_none() {
            self.shared.socket_changed.notify_one();
        }
    }

    /// A process that sends to a watched port of another host. It changes no state: its packets do,
    /// if there are any.
    fn record_connect(
        &mut self,
        record: &SocketRecord,
        time: Timestamp,
        caller: Option<&Identity>,
    ) {
        if !self.ports.contains_key(&record.port) {
            return;
        }
        let event = self.event(record, time, caller, None);
        if let Some((port, sender)) = Sender::of_event(&event) {
            self.senders.record(port, sender);
        }
        if let Some(protocol) = record.protocol {
            self.outbound.record(record.port, protocol, record.time_ns, event.clone());
        }
        if self.emit(event.clone())
            && let Some(caller) = caller
        {
            self.seek_evidence(caller, &event);
        }
    }

    fn event(
        &self,
        record: &SocketRecord,
        time: Timestamp,
        caller: Option<&Identity>,
        expected: Option<bool>,
    ) -> Event {
        let call = self.call(record, caller);
        let first = self.context.time_of_day(record.time_ns).filter(|_| record.count > 1);
        let repeats = first.map(|first| Repeats { count: record.count, first, last: time });
        let body = EventBody::from_call(call, record, expected);
        Event { repeats, ..Event::new(time, body, &self.context) }
    }

    fn call(&self, record: &SocketRecord, caller: Option<&Identity>) -> event::Call {
        let mut call = event::Call::new(record, &self.context);
        call.socket.interface = self.interface(record.interface, record.netns_inode);
        match caller {
            Some(caller) => call.complete(caller),
            None => call.caller = None,
        }
        call
    }

    /// Name of the interface that a socket of a namespace is bound to; `None` unless the namespace is known
    /// to be this one.
    fn interface(&self, index: Option<NonZeroU32>, netns_inode: Option<u32>) -> Option<String> {
        let index = index.filter(|_| is_same(netns_inode, self.netns_inode))?;
        sockets::interface_name(index.get())
    }

    fn classify(&mut self, sample: &SampleRecord) {
        let ports = &self.ports;
        self.first_senders.record(sample, |port| ports.contains_key(&port));
        if let Some(finding) = self.classifier.ingest(sample, |port| ports.contains_key(&port)) {
            self.emit_finding(&finding);
        }
    }

    fn emit_finding(&mut self, finding: &Finding) {
        self.context.clock_offset_ns = self.clock.to_wall_clock_ns();
        let interface = self.interfaces.get(&finding.interface).map(String::as_str);
        let event = Event::identified(finding, interface, self.payload, &self.context);
        // `None` means that its time is out of range.
        let Some(event) = event else { return };
        let verdict = finding.identification.verdict.name();
        self.chronicle.identified(finding.port, event.time, verdict);
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.count(finding, event.time);
        drop(tallies);
        self.emit(event);
    }

    fn read_counters(&mut self, at: ClockReading, counters: &Snapshot) {
        self.name_interfaces(counters);
        for finding in self.classifier.expire(at.boottime_ns) {
            self.emit_finding(&finding);
        }
        let mut ledger = lock(&self.ledger);
        let mut reading = ledger.begin_reading(at, &mut self.transitions);
        // Binds first: packets that follow a bind did not awaken the port.
        for row in &counters.sockets {
            reading.sockets(row.port, &row.counters);
        }
        for row in &counters.rare_sockets {
            reading.rare_sockets(row.port, row.protocol, &row.counters);
        }
        for row in &counters.traffic {
            reading.traffic(row.interface_index, row.port, &row.counters);
        }
        for row in &counters.rare_traffic {
            reading.rare_traffic(row.interface_index, row.port, row.protocol, &row.counters);
        }
        reading.finish();
        let is_suspicious = ledger.suspected_answers().next().is_some();
        let state = |port| ledger.facts(port).map(|facts| facts.state);
        self.hours.lock().record(at, counters, state);
        drop(ledger);
        self.note_counters(at, counters);
        if is_suspicious {
            // A scan decides whether a socket gave the answers.
            self.shared.socket_changed.notify_one();
        }
        self.emit_transitions(None);
        self.first_senders.forget();
        self.emit_due_summaries(at);
        self.judge_without_evidence();
        self.tick_listeners(at);
        self.emit_listener_news(false);
        if self.has_changes || self.saved_at.elapsed() >= SAVE_PERIOD {
            self.save();
        }
        if self.history_saved_at.is_none_or(|saved| saved.elapsed() >= HISTORY_SAVE_PERIOD) {
            self.save_history();
        }
    }

    fn name_interfaces(&mut self, counters: &Snapshot) {
        self.interfaces.clear();
        // The rows of an interface are adjacent.
        for rows in counters.traffic.chunk_by(|a, b| a.interface_index == b.interface_index) {
            if let Some(row) = rows.first() {
                self.interfaces.insert(row.interface_index, row.interface.clone());
            }
        }
    }

    /// Saves the changes of the ledger. Changes that the store does not take now are saved the next
    /// time.
    fn save(&mut self) {
        self.saved_at = Instant::now();
        self.has_changes = false;
        let mut ledger = lock(&self.ledger);
        if self.outputs.store.needs_whole_ledger() {
            ledger.mark_unsaved();
        }
        if let Err(changes) = self.outputs.store.save(ledger.take_changes()) {
            ledger.requeue(&changes);
        }
    }

    fn configure(&mut self, wanted: Wanted, now: ClockReading) {
        let Wanted { ports, payload, identified, listeners, evidence } = wanted;
        self.payload = payload;
        self.inspector.limit(evidence);
        self.listeners.configure(listeners);
        lock(&self.ledger).listeners_mut().configure(self.listeners.settings());
        if self.summaries.is_some() != (identified == IdentifiedEvents::First) {
            self.flush_summaries();
            self.summaries = summaries(identified);
        }
        lock(&self.ledger).watch(ports.iter().map(Watched::from), now);
        self.chronicle.watch(ports.iter().map(|port| port.number), now.wall);
        self.host_files.expect(expected_files(&ports, &self.listeners.config));
        self.ports = by_number(ports);
    }

    /// Emits the events of the transitions since the last call. `call` is the event of the call
    /// that caused them, if a call did.
    fn emit_transitions(&mut self, call: Option<&Event>) {
        let mut transitions = std::mem::take(&mut self.transitions);
        self.has_changes |= !transitions.is_empty();
        let must_save = transitions.iter().any(must_save);
        let deadline = Instant::now() + STORE_WAIT;
        let is_of_call = call.is_some();
        for transition in transitions.drain(..) {
            let call = call.or_else(|| self.outbound.cause_of(&transition));
            let sender = self.first_senders.of(&transition);
            if let Some(event) = Event::from_transition(&transition, call, sender, &self.context) {
                // A call has few transitions, and other calls are queued behind it.
                if !is_of_call {
                    self.outputs.wait_for_room(deadline);
                }
                self.emit(event);
            }
        }
        self.transitions = transitions;
        if must_save {
            self.save();
        }
    }

    /// Emits an event, or adds it to a sum. Returns whether it was emitted.
    fn emit(&mut self, event: Event) -> bool {
        self.outputs.show(&event);
        let emitted = match &mut self.summaries {
            Some(summaries) => summaries.ingest(event, clock::now().boottime_ns),
            None => Some(event),
        };
        let Some(event) = emitted else { return false };
        self.outputs.emit(event);
        true
    }

    fn emit_due_summaries(&mut self, at: ClockReading) {
        let due = self.summaries.as_mut().map(|summaries| summaries.expire(at));
        let due = due.into_iter().flatten().chain(self.expected_activity.expire(at));
        due.for_each(|summary| self.outputs.emit(summary));
    }

    fn flush_summaries(&mut self) {
        let all = self.summaries.as_mut().map(|summaries| summaries.flush(clock::now()));
        all.into_iter().flatten().for_each(|summary| self.outputs.emit(summary));
    }
}

/// Whether both network namespaces are known, and the same.
fn is_same(one: Option<u32>, other: Option<u32>) -> bool {
    one.is_some() && one == other
}

/// Whether the configuration expects a caller, if that is known.
fn is_expected(judgement: Option<Judgement>) -> Option<bool> {
    match judgement? {
        Judgement::Expected => Some(true),
        Judgement::NotExpected => Some(false),
        Judgement::Pending => None,
    }
}

/// What sums up events alike, if the configuration wants them summed up.
fn summaries(identified: IdentifiedEvents) -> Option<Summarizer> {
    (identified == IdentifiedEvents::First).then(Summarizer::default)
}

/// Whether the ledger must be saved at once. A program that binds and closes in a loop changes the
/// state of a port many thousand times a second; such changes wait for the next reading, so that
/// they do not wear the disk.
const fn must_save(transition: &Transition) -> bool {
    matches!(transition.change, Change::Awakened { .. } | Change::Dormant)
}

/// Executables that are expected by their whole path.
fn expected_files<'a>(
    ports: &'a [WatchedPort],
    listeners: &'a ListenersConfig,
) -> impl Iterator<Item = &'a str> {
    let owners = ports.iter().flat_map(|port| &port.expect);
    let owners = owners.chain(listeners.expect.iter().map(|entry| &entry.owner));
    let executables = owners.filter_map(|owner| owner.exe.as_ref());
    executables.filter(|exe| exe.is_exact()).map(Pattern::as_str)
}

fn by_number(ports: Vec<WatchedPort>) -> BTreeMap<u16, WatchedPort> {
    ports.into_iter().map(|port| (port.number, port)).collect()
}

impl From<&WatchedPort> for Watched {
    fn from(port: &WatchedPort) -> Self {
        Self {
            port: port.number,
            dormant_after: port.dormant_after,
            has_owners: !port.expect.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_ledger::PortState;

    use super::*;

    #[test]
    fn namespaces_that_are_not_known_are_not_the_same() {
        assert!(is_same(Some(1), Some(1)) && !is_same(Some(1), Some(2)));
        assert!(!is_same(None, None) && !is_same(Some(1), None) && !is_same(None, Some(1)));
    }

    #[test]
    fn saves_at_once_only_what_lasts() {
        let (from, to) = (PortState::Quiet, PortState::Bound);
        let of = |change| Transition { port: 2948, time: Timestamp::UNIX_EPOCH, change };
        assert!(!must_save(&of(Change::State { from, to })));
        assert!(must_save(&of(Change::Dormant)));
    }
}
