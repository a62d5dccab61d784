//! From what the kernel side tells to what others are told: callers are identified, the ledger is
//! kept, events go to the sinks, to the store and to those who follow.
//!
//! It is a thread of its own, because `/proc` may keep it waiting. The agent empties the ring buffer
//! into its queue meanwhile; what finds the queue full is counted.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use monitor_common::{
    flow::Protocol,
    socket_event::{SocketEvent, SocketEventKind},
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    clock::{EventClock, SteadyOffset},
    config::{self, Owner, WatchedPort},
    event::{Event, EventContext},
    ledger::{CallKind, Held, Ledger, Moment, PortFacts, SocketCall, Transition},
    process::{Identity, Joiner},
    sinks::EventQueue,
    snapshot::Snapshot,
    store::StoreQueue,
};

/// Messages that wait at most: many times what the ring buffer holds.
const QUEUE_CAPACITY: usize = 16_384;

/// How often the ledger is kept, beside every change of a port's state: what a crash may make it
/// forget.
const SAVING_PERIOD: Duration = Duration::from_secs(5);

/// Events that a follower may be behind.
const FOLLOWER_CAPACITY: usize = 1024;

/// The ledger, as those see it who only read.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// The way into the pipeline; clones share one queue.
#[derive(Clone, Debug)]
pub struct Pipeline {
    messages: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
    differences: Arc<AtomicU64>,
    ledger: SharedLedger,
    followers: broadcast::Sender<Arc<str>>,
}

/// What the pipeline works with.
#[derive(Debug)]
pub struct Parts {
    /// As it was saved, or new.
    pub ledger: Ledger,
    /// The watched ports.
    pub ports: Vec<WatchedPort>,
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
    Reading(Moment, Box<Snapshot>),
    Holders(Moment, Vec<Held>),
    Event(Box<Event>),
    Watch(Vec<WatchedPort>, Moment),
    Flush(oneshot::Sender<()>),
}

impl Pipeline {
    /// Starts the thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let (followers, _) = broadcast::channel(FOLLOWER_CAPACITY);
        let ledger = Arc::new(Mutex::new(parts.ledger));
        let differences = Arc::default();
        let worker = Worker {
            joiner: Joiner::new(parts.command_lines),
            clock: SteadyOffset::new(EventClock::Boottime),
            ledger: Arc::clone(&ledger),
            ports: by_number(parts.ports),
            command_lines: parts.command_lines,
            context: parts.context,
            queue: parts.queue,
            store: parts.store,
            saved_at: Instant::now(),
            has_looked: false,
            differences: Arc::clone(&differences),
            followers: followers.clone(),
            transitions: Vec::new(),
        };
        thread::Builder::new().name("pipeline".into()).spawn(move || worker.run(receiver))?;
        Ok(Self { messages, lost: Arc::default(), differences, ledger, followers })
    }

    /// A record of the kernel side, or one more that is lost.
    pub fn call(&self, record: &SocketEvent, command_line: Option<&[u8]>) {
        let record = Box::new((*record, command_line.map(<[u8]>::to_vec)));
        if self.messages.try_send(Message::Call(record)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// An event that the agent tells of itself.
    pub fn tell(&self, event: Event) {
        if self.messages.try_send(Message::Event(Box::new(event))).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// The kernel's counters as they were at `at`. Every call that they count is to be told before.
    /// A reading that finds the queue full is left out: the next one has what it had.
    pub fn read(&self, at: Moment, counters: Snapshot) {
        let _ = self.messages.try_send(Message::Reading(at, Box::new(counters)));
    }

    /// Who held the watched ports in a look that began at `at`; the next one has what this one had.
    pub fn hold(&self, at: Moment, held: Vec<Held>) {
        let _ = self.messages.try_send(Message::Holders(at, held));
    }

    /// Watches these ports from now on.
    pub async fn watch(&self, ports: Vec<WatchedPort>, now: Moment) {
        self.order(Message::Watch(ports, now)).await;
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

    /// Events that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often a look at all sockets found a port held that the events said was free, or free that
    /// they said was held. A bind or close while it looks may be among them.
    pub fn differences(&self) -> u64 {
        self.differences.load(Relaxed)
    }

    /// The ledger as it is now.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Every event from now on, as one line of JSON.
    pub fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.followers.subscribe()
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
    /// Records of an earlier agent may have command lines that this one is not to tell.
    command_lines: bool,
    context: EventContext,
    queue: EventQueue,
    store: StoreQueue,
    saved_at: Instant,
    has_looked: bool,
    differences: Arc<AtomicU64>,
    followers: broadcast::Sender<Arc<str>>,
    /// Room for what the ledger tells, used again and again.
    transitions: Vec<Transition>,
}

impl Worker {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Call(record) => self.call(&record.0, record.1.as_deref()),
                Message::Reading(at, counters) => self.read(at, &counters),
                Message::Holders(at, held) => self.reconcile(at, held),
                Message::Event(event) => self.tell(*event),
                Message::Watch(ports, now) => self.watch(ports, now),
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
        let caller = self.joiner.identify(record, command_line);
        let mut event = match &caller {
            Some(caller) => event.by(caller),
            None => event,
        };
        let port = self.ports.get(&record.port);
        let is_bind = record.kind == SocketEventKind::Bind as u8;
        if let Some(port) = port.filter(|_| is_bind) {
            let owner = caller.as_ref().map(owner).unwrap_or_default();
            event.expected = Some(config::is_expected(&port.expect, &owner));
        }
        if let Some(call) = socket_call(record, &event) {
            lock(&self.ledger).call(&call, &mut self.transitions);
        }
        self.tell(event.clone());
        if event.expected == Some(false) && record.errno == 0 {
            self.tell(event.unexpected_owner());
        }
        self.tell_transitions(Some(&event));
    }

    fn read(&mut self, at: Moment, counters: &Snapshot) {
        let mut ledger = lock(&self.ledger);
        let mut reading = ledger.read(at, &mut self.transitions);
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
        if self.saved_at.elapsed() >= SAVING_PERIOD {
            self.save();
        }
    }

    /// Keeps what the ledger has to remember; what cannot be kept now is kept with the next.
    fn save(&mut self) {
        self.saved_at = Instant::now();
        let mut ledger = lock(&self.ledger);
        if self.store.needs_whole_ledger() {
            ledger.mark_unsaved();
        }
        if let Err(changes) = self.store.save(ledger.take_changes()) {
            ledger.give_back(&changes);
        }
    }

    /// Brings the ledger in line with who was seen to hold the ports.
    fn reconcile(&mut self, at: Moment, held: Vec<Held>) {
        let mut ledger = lock(&self.ledger);
        if self.has_looked {
            self.differences.fetch_add(differences(&ledger, &held), Relaxed);
        }
        // What was open before the agent came is no difference.
        self.has_looked = true;
        ledger.holders(at, held, &mut self.transitions);
        drop(ledger);
        self.tell_transitions(None);
    }

    fn watch(&mut self, ports: Vec<WatchedPort>, now: Moment) {
        lock(&self.ledger).watch(ports.iter().map(|port| (port.number, port.dormant_after)), now);
        self.ports = by_number(ports);
    }

    /// What the ledger made of `call`, or of something else.
    fn tell_transitions(&mut self, call: Option<&Event>) {
        let transitions = std::mem::take(&mut self.transitions);
        let is_news = !transitions.is_empty();
        for transition in transitions {
            if let Some(event) = Event::from_transition(&transition, call, &self.context) {
                self.tell(event);
            }
        }
        if is_news {
            self.save();
        }
    }

    fn tell(&self, event: Event) {
        if self.followers.receiver_count() > 0
            && let Ok(line) = serde_json::to_string(&event)
        {
            // Nobody may be there any more.
            let _ = self.followers.send(line.into());
        }
        self.store.send(&event);
        self.queue.send(event);
    }
}

fn by_number(ports: Vec<WatchedPort>) -> BTreeMap<u16, WatchedPort> {
    ports.into_iter().map(|port| (port.number, port)).collect()
}

/// What expectations are compared with. A path that was deleted since is not the file of that path.
fn owner(caller: &Identity) -> Owner<'_> {
    let cgroup = caller.cgroup.as_deref();
    let executable = caller.executable.as_ref().filter(|executable| !executable.is_deleted);
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    Owner {
        executable: executable.map(|executable| executable.path.as_str()),
        user_name: caller.effective_user.as_ref().and_then(|user| user.name.as_deref()),
        user_id: caller.effective_user.as_ref().map(|user| user.id),
        systemd_unit: unit.filter(|unit| unit.is_of_system()).map(|unit| unit.name.as_str()),
        container_id: cgroup.and_then(|cgroup| cgroup.container_id.as_deref()),
    }
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
        at: Moment { wall: event.time, boottime_ns: record.time_ns },
        port: record.port,
        protocol: Protocol::from_ip_number(record.protocol)?,
        kind,
    })
}

/// A poisoned lock guards a ledger that is as good as before.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
