//! From what the kernel side tells to what others are told: callers are identified, the ledger is
//! kept, events go to the sinks, to the store and to those who follow.
//!
//! It is a thread of its own, because `/proc` may keep it waiting. The agent empties the ring buffer
//! into its queue meanwhile; what finds the queue full is counted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use monitor_common::{
    flow::Protocol,
    sample::Sample,
    socket_event::{SocketEvent, SocketEventKind},
};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    agent::bounded_wait::Patience,
    classification::{Examiner, Finding, Tallies},
    config::{self, Owner, PayloadKeep, WatchedPort},
    event::broadcast::{Follower, Followers},
    event::{Event, EventContext, EventName},
    process::{Identity, Joiner},
    sinks::EventQueue,
    sockets::{Entry, Socket, TcpState},
    store::StoreQueue,
};
use monitor_kernel::{
    clock::{EventClock, SteadyOffset},
    snapshot::Snapshot,
};
use monitor_ledger::{
    CallKind, Change, ClockReading, FoundHeld, Held, Ledger, PortFacts, SocketCall, Transition,
    Watched,
};

/// Messages that wait at most: many times what the ring buffer holds.
const QUEUE_CAPACITY: usize = 16_384;

/// How often the ledger is kept, beside every reading that finds a port changed: what a crash may
/// make it forget.
const SAVING_PERIOD: Duration = Duration::from_secs(5);

/// How long a burst of news waits for those who write it: a scan of all ports awakens them in one
/// reading. Calls wait in the queue meanwhile.
const BURST_LIMIT: Duration = Duration::from_secs(5);

/// The same for binds that nobody expects: their count is not to go back when the agent is killed.
const UNEXPECTED_SAVING_PERIOD: Duration = Duration::from_millis(50);

/// The same for the sinks, which are of no less use without some events.
const SINK_LIMIT: Duration = Duration::from_millis(50);

/// The ledger, as those see it who only read.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// The way into the pipeline; clones share one queue.
#[derive(Clone, Debug)]
pub struct Pipeline {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    ledger: SharedLedger,
    tallies: Arc<Mutex<Tallies>>,
    followers: Followers,
}

/// What the thread and those who ask have in common.
#[derive(Debug, Default)]
struct Shared {
    lost: AtomicU64,
    lost_samples: AtomicU64,
    differences: AtomicU64,
    /// Whether a reading is in the queue: of thousands of ports it takes megabytes.
    reading_waits: AtomicBool,
    /// That a socket came or went.
    stirred: Notify,
}

/// What the pipeline works with.
#[derive(Debug)]
pub struct Parts {
    /// As it was saved, or new.
    pub ledger: SharedLedger,
    /// The watched ports.
    pub ports: Vec<WatchedPort>,
    /// What is kept of payloads.
    pub keep: PayloadKeep,
    /// Whether command lines are told.
    pub command_lines: bool,
    /// What events have in common.
    pub context: EventContext,
    /// Where events are written.
    pub queue: EventQueue,
    /// Where events and the ledger are kept.
    pub store: StoreQueue,
}

#[derive(Debug)]
enum Message {
    Call(Box<(SocketEvent, Option<Vec<u8>>)>),
    Sample(Box<Sample>),
    Reading(ClockReading, Box<Snapshot>),
    Holders(ClockReading, Arc<[Socket]>),
    Event(Box<Event>),
    Watch(Vec<WatchedPort>, PayloadKeep, ClockReading),
    Flush(oneshot::Sender<()>),
}

impl Pipeline {
    /// Starts the thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let followers = Followers::new(Timestamp::now().as_microsecond().unsigned_abs());
        let ledger = parts.ledger;
        let shared = Arc::<Shared>::default();
        let tallies = Arc::<Mutex<Tallies>>::default();
        let worker = Worker {
            joiner: Joiner::new(parts.command_lines),
            clock: SteadyOffset::new(EventClock::Boottime),
            ledger: Arc::clone(&ledger),
            ports: by_number(parts.ports),
            keep: parts.keep,
            examiner: Examiner::default(),
            tallies: Arc::clone(&tallies),
            interfaces: HashMap::new(),
            command_lines: parts.command_lines,
            context: parts.context,
            queue: parts.queue,
            store: parts.store,
            saved_at: Instant::now(),
            has_news: false,
            has_looked: false,
            patience: Default::default(),
            shared: Arc::clone(&shared),
            followers: followers.clone(),
            transitions: Vec::new(),
        };
        thread::Builder::new().name("pipeline".into()).spawn(move || worker.run(receiver))?;
        Ok(Self { messages, shared, ledger, tallies, followers })
    }

    /// A record of the kernel side, or one more that is lost.
    pub fn call(&self, record: &SocketEvent, command_line: Option<&[u8]>) {
        let record = Box::new((*record, command_line.map(<[u8]>::to_vec)));
        if self.messages.try_send(Message::Call(record)).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// A sample of the kernel side, or one more that nobody looks at.
    pub fn sample(&self, sample: Sample) {
        if self.messages.try_send(Message::Sample(Box::new(sample))).is_err() {
            self.shared.lost_samples.fetch_add(1, Relaxed);
        }
    }

    /// An event that the agent tells of itself.
    pub fn tell(&self, event: Event) {
        if self.messages.try_send(Message::Event(Box::new(event))).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// The kernel's counters as they were at `at`. Every call that they count is to be told before.
    /// A reading that finds another one waiting, or the queue full, is left out: the next one has
    /// what it had.
    pub fn read(&self, at: ClockReading, counters: Snapshot) {
        if self.shared.reading_waits.swap(true, Relaxed) {
            return;
        }
        if self.messages.try_send(Message::Reading(at, Box::new(counters))).is_err() {
            self.shared.reading_waits.store(false, Relaxed);
        }
    }

    /// Sockets on the watched ports in a look that began at `at`. Every call up to its end is to be told
    /// before; the next look has what this one had.
    pub fn hold(&self, at: ClockReading, sockets: Arc<[Socket]>) {
        let _ = self.messages.try_send(Message::Holders(at, sockets));
    }

    /// Watches these ports from now on, and keeps so much of payloads.
    pub async fn watch(&self, ports: Vec<WatchedPort>, keep: PayloadKeep, now: ClockReading) {
        self.order(Message::Watch(ports, keep, now)).await;
    }

    /// Waits until everything before it is done; `false` if that took longer than `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            self.order(Message::Flush(done)).await;
            // An error means that the thread has ended.
            let _ = flushed.await;
        };
        tokio::time::timeout(limit, flush).await.is_ok()
    }

    /// What payloads turned out to be so far.
    pub fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples that found the queue full.
    pub fn lost_samples(&self) -> u64 {
        self.shared.lost_samples.load(Relaxed)
    }

    /// Events that found the queue full.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// How often a look at all sockets found a port held that the events said was free, or free that
    /// they said was held. A bind or close while it looks may be among them.
    pub fn differences(&self) -> u64 {
        self.shared.differences.load(Relaxed)
    }

    /// Waits until a socket has come to a watched port or gone from there, since this last returned.
    pub async fn stirred(&self) {
        self.shared.stirred.notified().await;
    }

    /// The ledger as it is now.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Every event from now on.
    pub fn follow(&self) -> Follower {
        self.followers.follow()
    }

    async fn order(&self, message: Message) {
        // Only a thread that has ended takes no orders, and it needs none.
        let _ = self.messages.send(message).await;
    }
}

struct Worker {
    joiner: Joiner,
    clock: SteadyOffset,
    ledger: SharedLedger,
    ports: BTreeMap<u16, WatchedPort>,
    keep: PayloadKeep,
    examiner: Examiner,
    tallies: Arc<Mutex<Tallies>>,
    /// Names of the interfaces as of the last reading.
    interfaces: HashMap<u32, String>,
    /// Records of an earlier agent may have command lines that this one is not to tell.
    command_lines: bool,
    context: EventContext,
    queue: EventQueue,
    store: StoreQueue,
    saved_at: Instant,
    /// Whether a port has changed since.
    has_news: bool,
    has_looked: bool,
    /// With the store and with the sinks.
    patience: [Patience; 2],
    shared: Arc<Shared>,
    followers: Followers,
    /// Room for what the ledger tells, used again and again.
    transitions: Vec<Transition>,
}

impl Worker {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Call(record) => self.call(&record.0, record.1.as_deref()),
                Message::Sample(sample) => self.sample(&sample),
                Message::Reading(at, counters) => {
                    self.shared.reading_waits.store(false, Relaxed);
                    self.read(at, &counters);
                }
                Message::Holders(at, sockets) => self.reconcile(at, &sockets),
                Message::Event(event) => self.tell(*event),
                Message::Watch(ports, keep, now) => {
                    self.keep = keep;
                    self.watch(ports, now);
                }
                Message::Flush(done) => {
                    self.save();
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
            }
        }
    }

    fn call(&mut self, record: &SocketEvent, command_line: Option<&[u8]>) {
        self.context.clock_offset_ns = self.clock.to_wall_clock_ns();
        let command_line = command_line.filter(|_| self.command_lines);
        let event = match Event::from_socket_event(record, command_line, &self.context) {
            Ok(event) => event,
            Err(error) => {
                return tracing::error!(%error, "a record of the kernel side makes no sense");
            }
        };
        let caller = self.joiner.identify(record, command_line).filter(|_| !is_our_close(record));
        let mut event = match &caller {
            Some(caller) => event.by(caller),
            None => Event { caller: None, ..event },
        };
        let port = self.ports.get(&record.port);
        let port_is_watched = port.is_some();
        let is_bind = record.kind == SocketEventKind::Bind as u8;
        if let Some(port) = port.filter(|_| is_bind) {
            let owner = caller.as_ref().map(owner).unwrap_or_default();
            event.expected = Some(config::is_expected(&port.expect, &owner));
        }
        if let Some(call) = socket_call(record, &event) {
            lock(&self.ledger).record_call(&call, &mut self.transitions);
        }
        self.tell(event.clone());
        let is_unexpected = event.expected == Some(false) && record.errno == 0;
        if is_unexpected {
            self.tell(event.unexpected_owner());
            self.has_news = true;
        }
        self.tell_transitions(Some(&event));
        if is_unexpected && self.saved_at.elapsed() >= UNEXPECTED_SAVING_PERIOD {
            self.save();
        }
        if port_is_watched && event.name != EventName::BindFailed {
            self.shared.stirred.notify_one();
        }
    }

    fn sample(&mut self, sample: &Sample) {
        let ports = &self.ports;
        if let Some(finding) = self.examiner.take(sample, |port| ports.contains_key(&port)) {
            self.tell_finding(&finding);
        }
    }

    fn tell_finding(&mut self, finding: &Finding) {
        self.context.clock_offset_ns = self.clock.to_wall_clock_ns();
        let interface = self.interfaces.get(&finding.interface).map(String::as_str);
        let event = Event::identified(finding, interface, self.keep, &self.context);
        // A time outside of any calendar.
        let Some(event) = event else { return };
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.count(finding, event.time);
        drop(tallies);
        self.tell(event);
    }

    fn read(&mut self, at: ClockReading, counters: &Snapshot) {
        self.name_interfaces(counters);
        for finding in self.examiner.expire(at.boottime_ns) {
            self.tell_finding(&finding);
        }
        let mut ledger = lock(&self.ledger);
        let mut reading = ledger.begin_reading(at, &mut self.transitions);
        // Binds first: what follows a bind is not what awakened the port.
        for row in &counters.sockets {
            reading.sockets(row.port, &row.counters);
        }
        for row in &counters.traffic {
            reading.traffic(row.interface_index, row.port, &row.counters);
        }
        reading.finish();
        drop(ledger);
        self.tell_transitions(None);
        if self.has_news || self.saved_at.elapsed() >= SAVING_PERIOD {
            self.save();
        }
    }

    fn name_interfaces(&mut self, counters: &Snapshot) {
        self.interfaces.clear();
        // The rows of an interface are beside each other.
        for rows in counters.traffic.chunk_by(|a, b| a.interface_index == b.interface_index) {
            if let Some(row) = rows.first() {
                self.interfaces.insert(row.interface_index, row.interface.clone());
            }
        }
    }

    /// Keeps what the ledger has to remember; what cannot be kept now is kept with the next.
    fn save(&mut self) {
        self.saved_at = Instant::now();
        self.has_news = false;
        let mut ledger = lock(&self.ledger);
        if self.store.needs_whole_ledger() {
            ledger.mark_unsaved();
        }
        if let Err(changes) = self.store.save(ledger.take_changes()) {
            ledger.requeue(&changes);
        }
    }

    /// Brings the ledger in line with who was seen to hold the ports.
    fn reconcile(&mut self, at: ClockReading, sockets: &[Socket]) {
        let held = held(sockets);
        let mut ledger = lock(&self.ledger);
        if self.has_looked {
            self.shared.differences.fetch_add(differences(&ledger, &held), Relaxed);
        }
        // What was open before the agent came is no difference.
        self.has_looked = true;
        let found = ledger.record_holders(at, held, &mut self.transitions);
        drop(ledger);
        for found in found {
            self.judge_holders(at, &found, sockets);
        }
        self.tell_transitions(None);
    }

    /// Tells of sockets whose bind nobody has seen and that none of those holds who are expected. Of
    /// one that nobody holds it is not known, unless nobody is expected at all.
    fn judge_holders(&mut self, at: ClockReading, found: &FoundHeld, sockets: &[Socket]) {
        let Some(port) = self.ports.get(&found.port) else { return };
        let is_expected =
            |holder: &Arc<Identity>| config::is_expected(&port.expect, &owner(holder));
        let is_unexpected = |socket: &&Socket| {
            let is_known = port.expect.is_empty() || !socket.holders.is_empty();
            is_known && !socket.holders.iter().any(is_expected)
        };
        // A connection was accepted or has a port of the kernel's choice; so may a UDP socket.
        let is_chosen = found.protocol == Protocol::Udp && is_chosen_by_kernel(found.port);
        let bound = sockets.iter().filter(|socket| {
            let Entry { protocol, peer, .. } = socket.entry;
            let is_found = (socket.port, protocol) == (found.port, found.protocol);
            is_found && socket.holds_port() && peer.is_none() && !is_chosen
        });
        let unexpected: Vec<&Socket> = bound.filter(is_unexpected).collect();
        for socket in &unexpected {
            let holder = socket.holders.first().map(Arc::as_ref);
            self.tell(Event::unexpected_holder(socket, holder, at.wall, &self.context));
        }
        lock(&self.ledger).count_unexpected_binds(found, unexpected.len() as u64);
        self.has_news |= !unexpected.is_empty();
    }

    fn watch(&mut self, ports: Vec<WatchedPort>, now: ClockReading) {
        lock(&self.ledger).watch(ports.iter().map(Watched::from), now);
        self.ports = by_number(ports);
    }

    /// What the ledger made of `call`, or of something else.
    fn tell_transitions(&mut self, call: Option<&Event>) {
        let transitions = std::mem::take(&mut self.transitions);
        self.has_news |= !transitions.is_empty();
        let is_lasting = transitions.iter().any(is_lasting);
        let deadline = Instant::now() + BURST_LIMIT;
        for transition in transitions {
            if let Some(event) = Event::from_transition(&transition, call, &self.context) {
                // One call makes no burst, and others wait behind it.
                if call.is_none() {
                    self.wait_for_room(deadline);
                }
                self.tell(event);
            }
        }
        if is_lasting {
            self.save();
        }
    }

    fn wait_for_room(&mut self, deadline: Instant) {
        let [store, sinks] = &mut self.patience;
        store.wait(deadline, || self.store.has_room());
        // One that empties its queue has room at once; one that hangs holds up nobody.
        sinks.wait(Instant::now() + SINK_LIMIT, || self.queue.has_room());
    }

    fn tell(&self, event: Event) {
        self.followers.tell(|| serde_json::to_string(&event).ok().map(Into::into));
        self.store.send(&event);
        self.queue.send(event);
    }
}

/// Whether it is to be kept at once. Whoever binds and closes in a loop changes the state of a port
/// many thousand times a second, and the disk is not to be made to follow; the next reading will do.
const fn is_lasting(transition: &Transition) -> bool {
    matches!(transition.change, Change::Awakened { .. } | Change::Dormant)
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

/// What expectations are compared with. A path that was deleted since is not the file of that path.
fn owner(caller: &Identity) -> Owner<'_> {
    let cgroup = caller.cgroup.as_deref();
    let executable = caller.executable.as_ref().filter(|executable| !executable.is_deleted);
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    Owner {
        executable: executable.map(|executable| executable.path.as_str()),
        executable_is_hosts: caller.executable_is_hosts,
        user_name: caller.effective_user.as_ref().and_then(|user| user.name.as_deref()),
        user_id: caller.effective_user.as_ref().map(|user| user.id),
        systemd_unit: unit.filter(|unit| unit.is_of_system()).map(|unit| unit.name.as_str()),
        container_id: cgroup.and_then(|cgroup| cgroup.container_id.as_deref()),
    }
}

/// Whether this agent gave up the socket. Looking at a descriptor keeps it open for that moment: who
/// closed it meanwhile is not known.
fn is_our_close(record: &SocketEvent) -> bool {
    record.kind == SocketEventKind::Close as u8 && record.tgid == process::id()
}

/// Whether the kernel may give this port to a socket that asks for none, as far as this network
/// namespace goes.
fn is_chosen_by_kernel(port: u16) -> bool {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first..=last).contains(&port),
        _ => true,
    }
}

/// How many sockets hold each port.
fn held(sockets: &[Socket]) -> Vec<Held> {
    let mut ports = BTreeMap::<(u16, &str), Held>::new();
    for socket in sockets.iter().filter(|socket| socket.holds_port()) {
        let (port, protocol) = (socket.port, socket.entry.protocol);
        let none = Held { port, protocol, sockets: 0, can_answer: false };
        let held = ports.entry((port, protocol.name())).or_insert(none);
        held.sockets += 1;
        held.can_answer |=
            protocol == Protocol::Udp || socket.entry.tcp_state != Some(TcpState::Bound);
    }
    ports.into_values().collect()
}

/// Ports of which the events say that they are held and the look does not, or the other way round.
fn differences(ledger: &Ledger, held: &[Held]) -> u64 {
    let held = held.iter().filter(|held| held.sockets > 0);
    let held: HashSet<(u16, usize)> = held.map(|h| (h.port, h.protocol as usize)).collect();
    let differ = |port, facts: &PortFacts| {
        let differ = |protocol: &Protocol| {
            (facts.bound_sockets(*protocol) > 0) != held.contains(&(port, *protocol as usize))
        };
        Protocol::ALL.into_iter().filter(differ).count() as u64
    };
    ledger.all_facts().map(|(port, facts)| differ(port, &facts)).sum()
}

/// The call as the ledger takes it; none where the protocol is not known.
fn socket_call(record: &SocketEvent, event: &Event) -> Option<SocketCall> {
    let kind = match SocketEventKind::try_from(record.kind).ok()? {
        SocketEventKind::Bind if record.errno == 0 => {
            CallKind::Bind { expected: event.expected != Some(false) }
        }
        SocketEventKind::Bind => CallKind::BindRefused,
        SocketEventKind::Listen => CallKind::Listen,
        SocketEventKind::Close => CallKind::Close,
    };
    Some(SocketCall {
        at: ClockReading { wall: event.time, boottime_ns: record.time_ns },
        port: record.port,
        protocol: Protocol::from_ip_number(record.protocol)?,
        kind,
    })
}

/// A poisoned lock guards a ledger that is as good as before.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use monitor_ledger::{CounterEpoch, PortState, Start};

    const NOW: ClockReading = ClockReading { wall: Timestamp::UNIX_EPOCH, boottime_ns: 0 };

    /// A queue that nobody empties.
    fn stuck() -> (Pipeline, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(8);
        let counters = CounterEpoch { id: String::new(), adopted: false };
        let ledger = Ledger::new(Start { at: NOW, boot_id: String::new(), counters });
        let pipeline = Pipeline {
            messages,
            shared: Arc::default(),
            ledger: Arc::new(Mutex::new(ledger)),
            tallies: Arc::default(),
            followers: Followers::new(0),
        };
        (pipeline, receiver)
    }

    #[test]
    fn readings_do_not_pile_up() {
        let (pipeline, receiver) = stuck();
        for _ in 0..3 {
            pipeline.read(NOW, Snapshot::default());
        }
        assert_eq!(receiver.len(), 1);
    }

    #[test]
    fn only_a_close_of_the_agents_own_is_nobodys() {
        let record = |kind: SocketEventKind, tgid| {
            is_our_close(&SocketEvent { kind: kind as u8, tgid, ..SocketEvent::zeroed() })
        };
        assert!(record(SocketEventKind::Close, process::id()));
        assert!(!record(SocketEventKind::Close, process::id() + 1));
        assert!(!record(SocketEventKind::Bind, process::id()));
    }

    #[test]
    fn a_flapping_socket_does_not_wear_the_disk() {
        let (from, to) = (PortState::Quiet, PortState::Bound);
        let of = |change| Transition { port: 2948, time: Timestamp::UNIX_EPOCH, change };
        assert!(!is_lasting(&of(Change::State { from, to })));
        assert!(is_lasting(&of(Change::Dormant)));
    }
}
