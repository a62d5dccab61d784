//! A simulated world of packets, sockets, agent restarts and clock steps. The ledger must claim no
//! more than is true in it, and no less than could be known.

use std::collections::{BTreeMap, VecDeque};

use monitor_common::rare::{RareCounters, RareSocketCounters};
use proptest::prelude::*;

use super::*;
use crate::by_protocol::ByProtocol;

const PORTS: [(u16, u64); 2] = [(1, 5_000), (2, 20_000)];
const PASSING: (Direction, Side) = (Direction::Ingress, Side::Transit);
const MAX_READING_INTERVAL_MS: u64 = MAX_READING_INTERVAL_NS / 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    /// Whether it begins a conversation, if it goes to the port on another host.
    Packet(usize, Protocol, (Direction, Side), bool),
    /// Whether its event is lost.
    Bind(usize, Protocol, bool),
    Refuse(usize, Protocol, bool),
    Close(usize, Protocol, bool),
    /// The ring's events, newest first if they are out of order.
    Drain(bool),
    Read,
    Scan,
    Save,
    SetClock(i64),
    Kill,
    Reset,
    Reboot,
    Start,
}

fn step() -> impl Strategy<Value = Step> {
    let port = 0..PORTS.len();
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    let place = prop::sample::select(vec![IN, OUT, REPLY, ANSWER, PASSING]);
    let begins = any::<bool>();
    let lost = prop::bool::weighted(0.2);
    prop_oneof![
        8 => (0_u64..4_000).prop_map(Step::Pass),
        2 => (0_u64..60_000).prop_map(Step::Pass),
        4 => (port.clone(), protocol.clone(), place, begins)
            .prop_map(|(a, b, c, d)| Step::Packet(a, b, c, d)),
        3 => (port.clone(), protocol.clone(), lost).prop_map(|(a, b, c)| Step::Bind(a, b, c)),
        1 => (port.clone(), protocol.clone(), lost).prop_map(|(a, b, c)| Step::Refuse(a, b, c)),
        3 => (port, protocol, lost).prop_map(|(a, b, c)| Step::Close(a, b, c)),
        4 => any::<bool>().prop_map(Step::Drain),
        16 => Just(Step::Read),
        4 => Just(Step::Scan),
        4 => Just(Step::Save),
        1 => (-1_000_000_i64..1_000_000).prop_map(Step::SetClock),
        2 => Just(Step::Kill),
        1 => Just(Step::Reset),
        1 => Just(Step::Reboot),
        4 => Just(Step::Start),
    ]
}

/// What an agent knows, and loses with it what it has not saved. Times are milliseconds since the
/// world began; the ledger does not know it.
#[derive(Clone, Default)]
struct Knowledge {
    /// Spans between readings, and those of them that count.
    covered: Vec<(u64, u64)>,
    /// The last reading, or the start.
    last_reading: u64,
    /// The last reading.
    counted_until: u64,
    last_scan: Option<u64>,
    /// Start of dormancy by port.
    dormant: [Option<u64>; 2],
}

impl Knowledge {
    /// Covered time up to `time`.
    fn covered_at(&self, time: u64) -> u64 {
        let span = |(from, to): &(u64, u64)| time.min(*to).saturating_sub(*from);
        self.covered.iter().map(span).sum()
    }
}

struct World {
    now: u64,
    booted: u64,
    boots: u32,
    clock_ms: i64,
    lives: u32,
    adopted: bool,
    counters: [PortCounters; 2],
    calls: [SocketCounters; 2],
    /// The same of UDP-Lite and SCTP, which the kernel side creates with their first packet or call.
    rare_counters: [[Option<RareCounters>; 2]; 2],
    rare_calls: [[Option<RareSocketCounters>; 2]; 2],
    sockets: [ByProtocol<u32>; 2],
    ring: VecDeque<SocketCall>,
    /// When something happened at each port that the counters or an agent still know of.
    happened: [Vec<u64>; 2],
    ledger: Option<Ledger>,
    known: Knowledge,
    stored: Option<(Saved, BTreeMap<u16, SavedPort>, Knowledge)>,
}

/// The place of a protocol in [`Protocol::RARE`].
fn rare_index(protocol: Protocol) -> Option<usize> {
    Protocol::RARE.iter().position(|rare| *rare == protocol)
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: 1_000,
            booted: 0,
            boots: 0,
            clock_ms: 1_700_000_000_000,
            lives: 0,
            adopted: false,
            counters: Default::default(),
            calls: Default::default(),
            rare_counters: Default::default(),
            rare_calls: Default::default(),
            sockets: Default::default(),
            ring: VecDeque::new(),
            happened: Default::default(),
            ledger: None,
            known: Knowledge::default(),
            stored: None,
        };
        world.start();
        // Without a first save a ledger starts empty, which another test covers.
        world.save();
        world
    }

    fn clock_reading(&self) -> ClockReading {
        let wall = Timestamp::from_millisecond(self.clock_ms + self.now as i64).expect("a time");
        ClockReading { wall, boottime_ns: (self.now - self.booted) * 1_000_000 }
    }

    fn start(&mut self) {
        if self.ledger.is_some() {
            return;
        }
        let start = Start {
            at: self.clock_reading(),
            boot_id: self.boots.to_string(),
            counters: CounterEpoch { id: self.lives.to_string(), adopted: self.adopted },
        };
        let mut ledger = match &self.stored {
            None => {
                self.known = Knowledge { dormant: [Some(self.now); 2], ..Knowledge::default() };
                Ledger::new(start)
            }
            Some((saved, ports, known)) => {
                self.known = known.clone();
                Ledger::restore(saved, ports.clone(), start).expect("this version")
            }
        };
        let ports = PORTS.map(|(port, milliseconds)| Watched {
            port,
            dormant_after: Duration::from_millis(milliseconds),
            has_owners: false,
        });
        ledger.watch(ports, self.clock_reading());
        self.known.last_reading = self.now;
        self.ledger = Some(ledger);
        self.adopted = true;
    }

    fn save(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        let Changes { ledger, ports, listeners: _ } = ledger.take_changes();
        let mut stored = self.stored.take().map(|(_, ports, _)| ports).unwrap_or_default();
        for (number, port) in ports {
            match port {
                Some(port) => stored.insert(number, port),
                None => stored.remove(&number),
            };
        }
        self.stored = Some((ledger, stored, self.known.clone()));
    }

    /// Resets the counters: activity that only they had counted is lost.
    fn reset(&mut self) {
        self.ledger = None;
        self.lives += 1;
        self.adopted = false;
        self.counters = Default::default();
        self.calls = Default::default();
        self.rare_counters = Default::default();
        self.rare_calls = Default::default();
        self.ring.clear();
        let counted_until = self.stored.as_ref().map_or(0, |(_, _, known)| known.counted_until);
        for happened in &mut self.happened {
            happened.retain(|time| *time <= counted_until);
        }
    }

    fn reboot(&mut self) {
        self.reset();
        self.now += 1;
        self.booted = self.now;
        self.boots += 1;
        self.sockets = Default::default();
    }

    fn call(&mut self, port: usize, protocol: Protocol, kind: CallKind, lost: bool) {
        match kind {
            CallKind::Bind => self.sockets[port][protocol] += 1,
            CallKind::Close if self.sockets[port][protocol] == 0 => return,
            CallKind::Close => self.sockets[port][protocol] -= 1,
            _ => {}
        }
        if kind != CallKind::Close {
            let refused = usize::from(kind == CallKind::BindRefused);
            match rare_index(protocol) {
                None => self.calls[port].binds[protocol as usize][refused] += 1,
                Some(index) => {
                    let calls = self.rare_calls[port][index].get_or_insert_default();
                    calls.binds[refused] += 1;
                }
            }
            self.happened[port].push(self.now);
        }
        if !lost {
            let (port, _) = PORTS[port];
            let at = self.clock_reading();
            self.ring.push_back(SocketCall { at, port, protocol, kind, expected: false });
        }
    }

    fn packet(&mut self, port: usize, protocol: Protocol, place: (Direction, Side), begins: bool) {
        let (direction, side) = place;
        let accepts = begins && place == ANSWER && protocol == Protocol::Sctp;
        let begins = begins && place == OUT;
        if let Some(index) = rare_index(protocol) {
            let counters = self.rare_counters[port][index].get_or_insert(RareCounters::ZERO);
            counters.traffic[direction as usize][side as usize].packets += 1;
            counters.begun += u64::from(begins);
            counters.accepted += u64::from(accepts);
        } else {
            let counters = &mut self.counters[port];
            counters.traffic[protocol as usize][direction as usize][side as usize].packets += 1;
            match protocol {
                Protocol::Tcp => counters.connection_attempts[1][1] += u64::from(begins),
                _ => counters.begun_datagrams += u64::from(begins),
            }
        }
        if side == Side::Local || begins {
            self.happened[port].push(self.now);
        }
    }

    fn step(&mut self, step: Step) {
        // No two things happen at once, so that it is clear which came first.
        self.now += 1;
        match step {
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Packet(port, protocol, place, begins) => {
                self.packet(port, protocol, place, begins);
            }
            Step::Bind(port, protocol, lost) => self.call(port, protocol, CallKind::Bind, lost),
            Step::Refuse(port, protocol, lost) => {
                self.call(port, protocol, CallKind::BindRefused, lost);
            }
            Step::Close(port, protocol, lost) => self.call(port, protocol, CallKind::Close, lost),
            Step::Drain(backwards) => self.drain(backwards),
            Step::Read => self.read(),
            Step::Scan => self.scan(),
            Step::Save => self.save(),
            Step::SetClock(milliseconds) => self.clock_ms += milliseconds,
            Step::Kill => self.ledger = None,
            Step::Reset => self.reset(),
            Step::Reboot => self.reboot(),
            Step::Start => self.start(),
        }
    }

    fn drain(&mut self, backwards: bool) {
        let Some(mut ledger) = self.ledger.take() else { return };
        let mut transitions = Vec::new();
        while let Some(call) = if backwards { self.ring.pop_back() } else { self.ring.pop_front() }
        {
            ledger.record_call(&call, &mut transitions);
        }
        self.ledger = Some(ledger);
        self.judge(&transitions);
    }

    fn scan(&mut self) {
        let at = self.clock_reading();
        let Some(ledger) = &mut self.ledger else { return };
        let mut held = Vec::new();
        for (index, (port, _)) in PORTS.iter().enumerate() {
            for protocol in Protocol::ALL {
                let sockets = self.sockets[index][protocol];
                held.push(Held {
                    port: *port,
                    protocol,
                    sockets,
                    can_answer: true,
                    can_accept: true,
                    expected: 0,
                    unexpected: sockets,
                });
            }
        }
        let mut transitions = Vec::new();
        ledger.record_holders(
            at,
            held.into_iter().filter(|held| held.sockets > 0),
            &mut transitions,
        );
        self.judge(&transitions);
        self.known.last_scan = Some(self.now);
        for (index, (port, _)) in PORTS.iter().enumerate() {
            let facts = self.ledger.as_ref().and_then(|ledger| ledger.facts(*port)).expect("facts");
            for protocol in Protocol::ALL {
                let sockets = self.sockets[index][protocol];
                assert_eq!(facts.bound_sockets(protocol), sockets, "after a look");
            }
        }
    }

    fn read(&mut self) {
        let at = self.clock_reading();
        let Some(ledger) = &mut self.ledger else { return };
        let mut transitions = Vec::new();
        let mut reading = ledger.begin_reading(at, &mut transitions);
        for (index, (port, _)) in PORTS.iter().enumerate() {
            reading.sockets(*port, &self.calls[index]);
            for (calls, protocol) in self.rare_calls[index].iter().zip(Protocol::RARE) {
                calls.iter().for_each(|calls| reading.rare_sockets(*port, protocol, calls));
            }
        }
        for (index, (port, _)) in PORTS.iter().enumerate() {
            reading.traffic(ETHERNET, *port, &self.counters[index]);
        }
        for (index, (port, _)) in PORTS.iter().enumerate() {
            for (counters, protocol) in self.rare_counters[index].iter().zip(Protocol::RARE) {
                let rare = counters.iter();
                rare.for_each(|rare| reading.rare_traffic(ETHERNET, *port, protocol, rare));
            }
        }
        reading.finish();
        // Awakenings are judged by what was known before the reading, sleep by what it brought.
        let (awakened, dormant): (Vec<_>, Vec<_>) = transitions
            .iter()
            .partition(|transition| matches!(transition.change, Change::Awakened { .. }));
        self.judge(&awakened);
        let passed = self.now - self.known.last_reading;
        if passed <= MAX_READING_INTERVAL_MS {
            self.known.covered.push((self.known.last_reading, self.now));
        }
        self.known.last_reading = self.now;
        self.known.counted_until = self.now;
        self.judge(&dormant);
        self.judge_dormant_ports();
    }

    fn judge(&mut self, transitions: &[Transition]) {
        for transition in transitions {
            let index = usize::from(transition.port) - 1;
            match transition.change {
                Change::Awakened { wake, dormant_for } => {
                    let since = self.known.dormant[index].take().expect("it was dormant");
                    self.judge_dormant_for(index, since, wake, dormant_for);
                }
                Change::Dormant => {
                    assert!(self.known.dormant[index].is_none(), "it is dormant already");
                    self.judge_new_dormancy(index);
                    self.known.dormant[index] = Some(self.now);
                }
                Change::State { from, to } => assert_ne!(from, to),
                Change::Answered { protocol, .. } => {
                    assert_eq!(self.sockets[index][protocol], 0, "a socket explains it");
                }
            }
        }
    }

    /// It never dormant_seconds longer than until the first thing that happened, gaps not counted.
    fn judge_dormant_for(&self, port: usize, since: u64, wake: Wake, dormant_for: Duration) {
        let woken = match wake {
            _ if wake.is_unobserved_bind() => self.known.last_scan.unwrap_or(since).max(since),
            _ => {
                let after = self.happened[port].iter().find(|time| **time >= since);
                *after.expect("something happened")
            }
        };
        let truth = self.known.covered_at(woken) - self.known.covered_at(since);
        let claimed = dormant_for.as_millis() as u64;
        assert!(claimed <= truth, "{claimed} ms claimed, {truth} ms true: {wake}");
    }

    /// Nothing happened for as long as it takes, gaps not counted.
    fn judge_new_dormancy(&self, port: usize) {
        let (number, dormant_after) = PORTS[port];
        let last = self.happened[port].last().copied().unwrap_or(0);
        let quiet = self.known.covered_at(self.now) - self.known.covered_at(last);
        assert!(quiet >= dormant_after, "{quiet} ms quiet");
        if self.known.last_scan == Some(self.now) {
            assert_eq!(self.sockets[port], ByProtocol::default(), "port {number} is held");
        }
    }

    /// After a reading, nothing has happened at a port that sleeps.
    fn judge_dormant_ports(&self) {
        let ledger = self.ledger.as_ref().expect("a ledger");
        for (index, (port, _)) in PORTS.iter().enumerate() {
            let facts = ledger.facts(*port).expect("facts");
            assert_eq!(facts.is_dormant(), self.known.dormant[index].is_some());
            if let Some(since) = self.known.dormant[index] {
                let missed = self.happened[index].iter().find(|time| **time > since);
                assert_eq!(missed, None, "dormant since {since}");
            }
        }
    }
}

/// Unexpected binds over any number of agents.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Whether its event is lost.
    Bind(bool),
    /// What an agent does every second; whether a bind comes between ring and counters.
    Second(bool),
    Save,
    Kill,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => prop::bool::weighted(0.2).prop_map(Turn::Bind),
        4 => prop::bool::weighted(0.3).prop_map(Turn::Second),
        1 => Just(Turn::Save),
        1 => Just(Turn::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn counts_every_unexpected_bind_once(
        turns in prop::collection::vec(turn(), 0..80)
    ) {
        let mut world = World::new();
        let mut binds = 0;
        let mut bind = |world: &mut World, lost| {
            binds += 1;
            world.call(0, Protocol::Udp, CallKind::Bind, lost);
        };
        for turn in turns.into_iter().chain([Turn::Second(false); 3]) {
            world.now += 1_000;
            match turn {
                Turn::Bind(lost) => bind(&mut world, lost),
                Turn::Second(is_close) => {
                    world.start();
                    world.drain(false);
                    if is_close {
                        bind(&mut world, false);
                    }
                    world.read();
                }
                Turn::Save => world.save(),
                Turn::Kill => world.ledger = None,
            }
        }
        let facts = world.ledger.expect("a ledger").facts(PORTS[0].0).expect("facts");
        prop_assert_eq!(facts.unexpected_binds(Protocol::Udp), binds);
    }

    #[test]
    fn never_overstates_dormancy_or_loses_an_awakening(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Start);
        world.step(Step::Read);
    }
}
