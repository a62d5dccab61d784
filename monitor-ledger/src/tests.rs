mod answers;
mod calls;
mod expected;
mod rare;
mod sides;
mod world;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side, Traffic},
    socket_event::SocketCounters,
};

use super::*;

const PORT: u16 = 2948;
const DORMANT_AFTER: u64 = 60;
const ETHERNET: u32 = 2;
const LOOPBACK: u32 = 1;

const IN: (Direction, Side) = (Direction::Ingress, Side::Local);
const OUT: (Direction, Side) = (Direction::Egress, Side::Remote);
const REPLY: (Direction, Side) = (Direction::Egress, Side::Local);
const ANSWER: (Direction, Side) = (Direction::Ingress, Side::Remote);

/// So many seconds after the machine was started.
fn at(seconds: u64) -> ClockReading {
    let wall = Timestamp::from_second(1_700_000_000).expect("a time");
    ClockReading {
        wall: wall + SignedDuration::from_secs(seconds as i64),
        boottime_ns: seconds * 1_000_000_000,
    }
}

/// A port without owners, and the seconds after which it is dormant.
fn watched(port: u16, dormant_after: u64) -> Watched {
    Watched { port, dormant_after: Duration::from_secs(dormant_after), has_owners: false }
}

/// A socket that answers new peers, of an owner that the configuration does not expect.
const fn listener(protocol: Protocol) -> Held {
    Held {
        port: PORT,
        protocol,
        sockets: 1,
        can_answer: true,
        can_accept: true,
        expected: 0,
        unexpected: 1,
    }
}

fn start(seconds: u64, counters: &str, adopted: bool) -> Start {
    let counters = CounterEpoch { id: counters.into(), adopted };
    Start { at: at(seconds), boot_id: "boot".into(), counters }
}

/// A ledger that watches one port, and the counters that it reads.
struct Bench {
    ledger: Ledger,
    now: u64,
    counters: PortCounters,
    calls: SocketCounters,
    transitions: Vec<Transition>,
}

impl Bench {
    fn new() -> Self {
        Self::of(Ledger::new(start(0, "one", false)), 0)
    }

    fn of(mut ledger: Ledger, now: u64) -> Self {
        ledger.watch([watched(PORT, DORMANT_AFTER)], at(now));
        let (counters, calls) = Default::default();
        Self { ledger, now, counters, calls, transitions: Vec::new() }
    }

    /// Reads every second until `seconds`.
    fn read_until(&mut self, seconds: u64) {
        while self.now < seconds {
            self.now += 1;
            self.read_on(ETHERNET);
        }
    }

    fn read_on(&mut self, interface: u32) {
        let mut reading = self.ledger.begin_reading(at(self.now), &mut self.transitions);
        reading.sockets(PORT, &self.calls);
        reading.traffic(interface, PORT, &self.counters);
        reading.finish();
    }

    fn packet(&mut self, protocol: Protocol, (direction, side): (Direction, Side)) {
        let cell = &mut self.counters.traffic[protocol as usize][direction as usize][side as usize];
        *cell = Traffic { packets: cell.packets + 1, bytes: cell.bytes + 60 };
    }

    /// A packet that begins a conversation with the port on another host.
    fn begin(&mut self, protocol: Protocol) {
        self.packet(protocol, OUT);
        match protocol {
            Protocol::Tcp => self.counters.connection_attempts[1][1] += 1,
            _ => self.counters.begun_datagrams += 1,
        }
    }

    /// A packet from the port that answers; of TCP one that accepts a connection.
    fn answer(&mut self, protocol: Protocol) {
        self.packet(protocol, REPLY);
        self.counters.accepted += u64::from(protocol == Protocol::Tcp);
    }

    /// A call of an owner that the configuration expects.
    fn call(&mut self, protocol: Protocol, kind: CallKind) {
        self.call_of(protocol, kind, true);
    }

    fn call_of(&mut self, protocol: Protocol, kind: CallKind, expected: bool) {
        let call = SocketCall { at: at(self.now), port: PORT, protocol, kind, expected };
        self.ledger.record_call(&call, &mut self.transitions);
    }

    fn scan(&mut self, protocol: Protocol, sockets: u32, can_answer: bool) {
        let held = Held { sockets, can_answer, ..listener(protocol) };
        self.find((sockets > 0).then_some(held));
    }

    fn find(&mut self, held: Option<Held>) {
        self.ledger.record_holders(at(self.now), held, &mut self.transitions);
    }

    fn facts(&self) -> PortFacts {
        self.ledger.facts(PORT).expect("a port")
    }

    fn state(&self) -> PortState {
        self.facts().state
    }

    /// The transitions since the last call, without changes of state.
    fn take_transitions(&mut self) -> Vec<Change> {
        let changes =
            std::mem::take(&mut self.transitions).into_iter().map(|transition| transition.change);
        changes.filter(|change| !matches!(change, Change::State { .. })).collect()
    }

    /// Saves, and goes on as another agent does after a gap.
    fn restart(mut self, seconds: u64, start: Start) -> Self {
        let Changes { ledger, ports, listeners: _ } = self.ledger.take_changes();
        let json = serde_json::to_string(&ledger).expect("JSON");
        let saved: Saved = serde_json::from_str(&json).expect("the same");
        let ports = ports.into_iter().map(|(number, port)| {
            let json = serde_json::to_string(&port.expect("watched")).expect("JSON");
            (number, serde_json::from_str(&json).expect("the same"))
        });
        let ledger = Ledger::restore(&saved, ports, start).expect("this version");
        let counters = self.counters;
        Self { counters, calls: self.calls, ..Self::of(ledger, seconds) }
    }
}

fn dormant_seconds(change: &Change) -> u64 {
    match change {
        Change::Awakened { dormant_for, .. } => dormant_for.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn starts_dormant() {
    let mut bench = Bench::new();
    assert!(bench.facts().is_dormant() && bench.state() == PortState::Quiet);
    bench.read_until(300);
    assert_eq!(bench.take_transitions(), []);
    assert_eq!(bench.facts(), PortFacts { dormant_since: Some(at(0).wall), ..Default::default() });
}

#[test]
fn awakens_once_on_the_first_packet() {
    let mut bench = Bench::new();
    bench.read_until(100);
    bench.packet(Protocol::Udp, IN);
    bench.read_until(101);
    bench.packet(Protocol::Tcp, IN);
    bench.read_until(102);
    let changes = bench.take_transitions();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(
        dormant_seconds(&changes[0]),
        100,
        "no packet is known of before the reading at 100"
    );
    let facts = bench.facts();
    let awakenings = |cause| facts.awakenings(cause, false) + facts.awakenings(cause, true);
    assert_eq!((awakenings(Cause::Packet), awakenings(Cause::Bind)), (1, 0));
    assert_eq!(facts.last_packet(Protocol::Udp), Some(at(101).wall));
    assert_eq!(facts.last_packet(Protocol::Tcp), Some(at(102).wall));
    assert_eq!(facts.last_bind(Protocol::Tcp), None);
}

#[test]
fn becomes_dormant_after_quiet_time() {
    let mut bench = Bench::new();
    bench.begin(Protocol::Udp);
    bench.read_until(10 + DORMANT_AFTER);
    assert_eq!(bench.take_transitions().len(), 2, "awakened at 1, dormant 60 seconds later");
    assert_eq!(bench.facts().dormant_since, Some(at(61).wall));
    bench.read_until(100);
    bench.packet(Protocol::Udp, IN);
    bench.read_until(101);
    assert_eq!(dormant_seconds(&bench.take_transitions()[0]), 100 - 61);
}

#[test]
fn counts_from_zero_after_counters_shrink() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.packet(Protocol::Udp, IN);
    }
    bench.read_until(100);
    bench.take_transitions();
    bench.counters = PortCounters::default();
    bench.read_until(101);
    assert_eq!(bench.take_transitions(), []);
    bench.packet(Protocol::Udp, IN);
    bench.read_until(102);
    assert_eq!(bench.take_transitions().len(), 1);
}

#[test]
fn counts_a_recreated_interface_from_zero() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(100);
    bench.take_transitions();
    bench.counters = PortCounters::default();
    bench.packet(Protocol::Udp, IN);
    bench.now += 1;
    bench.read_on(ETHERNET + 1);
    assert_eq!(bench.take_transitions().len(), 1, "as many as on the other one, and they are new");
}

#[test]
fn awakens_at_restart_by_packets_of_the_gap() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(200);
    bench.take_transitions();
    bench.packet(Protocol::Udp, IN);
    let mut bench = bench.restart(1000, start(1000, "one", true));
    assert!(bench.facts().is_dormant());
    bench.read_until(1001);
    assert_eq!(
        dormant_seconds(&bench.take_transitions()[0]),
        200 - 61,
        "the gap counts for nothing"
    );
    assert_eq!(bench.ledger.coverage_gap(), Duration::from_secs(800));
    assert_eq!(bench.facts().awakenings(Cause::Packet, false), 2);
}

#[test]
fn ignores_a_quiet_gap() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(30);
    let mut bench = bench.restart(1000, start(1000, "one", true));
    bench.read_until(1030);
    assert_eq!(bench.take_transitions(), [], "29 + 30 seconds are covered");
    bench.read_until(1031);
    assert_eq!(bench.take_transitions(), [Change::Dormant]);
}

#[test]
fn counts_another_epoch_from_zero() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(100);
    let mut same = bench.restart(200, start(200, "two", false));
    same.read_until(201);
    assert_eq!(same.take_transitions().len(), 1, "the one packet there is came after the reset");
}

#[test]
fn saves_counts_with_their_epoch() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(10);
    let mut bench = bench.restart(20, start(20, "two", false));
    // Before the first reading: the next agent would take the old count for one of these counters.
    let changes = bench.ledger.take_changes();
    assert!(matches!(changes.ports[..], [(PORT, Some(_))]), "{changes:?}");
    bench.ledger.requeue(&changes);
    let mut bench = bench.restart(30, start(30, "two", true));
    bench.read_until(31);
    assert_eq!(bench.facts().last_packet(Protocol::Udp), Some(at(31).wall));
}

#[test]
fn adopts_existing_counts_without_awakening() {
    let mut bench = Bench::of(Ledger::new(start(0, "one", true)), 0);
    bench.packet(Protocol::Udp, IN);
    bench.calls.binds[0][0] = 1;
    bench.read_until(10);
    assert_eq!(bench.take_transitions(), []);
    bench.packet(Protocol::Udp, IN);
    bench.read_until(11);
    assert_eq!(bench.take_transitions().len(), 1);
}

#[test]
fn rejects_a_ledger_of_another_version() {
    let mut saved = Bench::new().ledger.take_changes().ledger;
    saved.version += 1;
    let error = Ledger::restore(&saved, [], start(0, "one", false)).expect_err("too new");
    assert_eq!(error, RestoreError(VERSION + 1));
}

#[test]
fn treats_a_long_interval_as_a_gap() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(10);
    bench.now = 5000;
    bench.read_on(ETHERNET);
    assert_eq!(bench.take_transitions().len(), 1, "not dormant, because the time is not covered");
    assert_eq!(bench.ledger.coverage_gap(), Duration::from_secs(4990));
}

#[test]
fn covers_no_time_by_an_unfinished_reading() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(1);
    for now in 2..100 {
        drop(bench.ledger.begin_reading(at(now), &mut bench.transitions));
    }
    assert!(!bench.facts().is_dormant());
}

#[test]
fn forgets_sockets_and_measures_the_gap_by_wall_clock_after_a_reboot() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, CallKind::Bind);
    bench.read_until(100);
    let start = Start {
        at: ClockReading { boottime_ns: 5_000_000_000, ..at(400) },
        boot_id: "next".into(),
        counters: CounterEpoch { id: "two".into(), adopted: false },
    };
    bench.counters = PortCounters::default();
    let bench = bench.restart(5, start);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 0);
    assert!(!bench.facts().is_dormant(), "it was held up to the gap");
    assert_eq!(bench.ledger.coverage_gap(), Duration::from_secs(300));
}

#[test]
fn returns_changes_once_unless_requeued() {
    let mut bench = Bench::new();
    let first = bench.ledger.take_changes();
    assert_eq!(first.ports.len(), 1);
    assert_eq!(bench.ledger.take_changes().ports, []);
    bench.ledger.requeue(&first);
    assert_eq!(bench.ledger.take_changes().ports, first.ports);
    bench.ledger.watch([watched(7, 1)], at(1));
    let changes = bench.ledger.take_changes().ports;
    assert!(matches!(changes[..], [(7, Some(_)), (PORT, None)]), "{changes:?}");
    assert_eq!(bench.ledger.facts(PORT), None);
}

#[test]
fn continues_when_watched_again() {
    let mut bench = Bench::new();
    bench.call_of(Protocol::Tcp, CallKind::Bind, false);
    bench.calls.binds[Protocol::Tcp as usize][0] = 1;
    bench.packet(Protocol::Udp, IN);
    bench.read_until(2);
    let before = bench.facts();
    assert_eq!(bench.take_transitions().len(), 1);

    bench.ledger.watch([], at(3));
    assert_eq!(bench.ledger.facts(PORT), None);
    // The counters of a port stay what they are, and so across a restart does what is known of it.
    bench = bench.restart(10, start(10, "one", true));
    bench.read_until(12);
    assert_eq!(bench.take_transitions(), [], "nothing has happened since");
    let after = bench.facts();
    assert_eq!(after.last_packet, before.last_packet);
    assert_eq!(after.last_bind, before.last_bind);
    assert_eq!(after.awakenings, before.awakenings);
    assert_eq!(after.unexpected_binds, before.unexpected_binds);
    assert_eq!(after.bound_sockets(Protocol::Tcp), 0, "not known before the next look");

    bench.packet(Protocol::Udp, IN);
    bench.read_until(13);
    assert_eq!(bench.take_transitions(), [], "it was active when it was last watched");
    assert!(bench.facts().last_packet(Protocol::Udp) > before.last_packet(Protocol::Udp));
}

#[test]
fn restarts_dormancy_when_watched_again() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(DORMANT_AFTER + 10);
    assert!(bench.facts().is_dormant());
    bench.ledger.watch([], at(bench.now));
    bench.now = 500;
    bench.ledger.watch([watched(PORT, DORMANT_AFTER)], at(bench.now));
    bench.transitions.clear();
    bench.read_until(510);
    bench.packet(Protocol::Udp, IN);
    bench.read_until(511);
    let [Change::Awakened { dormant_for, .. }] = bench.take_transitions()[..] else {
        panic!("one awakening")
    };
    assert!(dormant_for <= Duration::from_secs(10), "{dormant_for:?}: it was not watched before");
}

#[test]
fn skips_quiet_ports() {
    let mut ledger = Ledger::new(start(0, "one", false));
    ledger.watch((1..=u16::MAX).map(|port| watched(port, 1)), at(0));
    let mut transitions = Vec::new();
    let mut reading = ledger.begin_reading(at(1), &mut transitions);
    for port in 1..=u16::MAX {
        reading.traffic(ETHERNET, port, &PortCounters::default());
        reading.sockets(port, &SocketCounters::default());
    }
    reading.finish();
    assert!(ledger.active.is_empty());
    assert!(ledger.ports.values().all(|port| port.history.is_none()), "nothing was allocated");
    assert_eq!(ledger.all_facts().len(), 65_535);
}
