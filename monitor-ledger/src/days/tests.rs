//! Properties of the long memory.

mod holdings;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use jiff::Timestamp;
use monitor_common::{
    flow::{PortCounters, Protocol, Traffic},
    socket_event::SocketCounters,
    sources::Sketch,
};
use proptest::prelude::*;

use super::*;
use crate::{ClockReading, CounterEpoch, PortState, Start};

fn at(second: i64, boottime_ns: u64) -> ClockReading {
    ClockReading { wall: Timestamp::from_second(second).expect("a time"), boottime_ns }
}

const NOON: i64 = 1_795_176_000;
const SECOND: u64 = 1_000_000_000;

fn start(wall: i64, boottime_ns: u64, epoch: &str, adopted: bool) -> Start {
    let counters = CounterEpoch { id: epoch.into(), adopted };
    Start { at: at(wall, boottime_ns), boot_id: "boot".into(), counters }
}

/// One thing that a record has.
#[derive(Clone, Debug)]
enum Part {
    Cell(usize, u64, u64),
    Calls(usize, [u64; 5]),
    Address(u64),
    Talker(u8, u64),
    Program(u8, u64),
    Verdict(u8, u64),
    State(usize, u64),
    Packets(i64),
}

fn part(keys: u8, most: u64) -> impl Strategy<Value = Part> {
    prop_oneof![
        (0_usize..24, 0..most, 0..most).prop_map(|(cell, a, b)| Part::Cell(cell, a, b)),
        (0_usize..4, any::<[u16; 5]>())
            .prop_map(|(protocol, counts)| Part::Calls(protocol, counts.map(u64::from))),
        any::<u64>().prop_map(Part::Address),
        (0..keys, 1..most).prop_map(|(key, count)| Part::Talker(key, count)),
        (0..keys, 1..most).prop_map(|(key, count)| Part::Program(key, count)),
        (0..keys, 1..most).prop_map(|(key, count)| Part::Verdict(key, count)),
        (1_usize..8, 0..most).prop_map(|(state, time)| Part::State(state, time)),
        (0..86_400_i64).prop_map(Part::Packets),
    ]
}

fn record(parts: &[Part]) -> DayRecord {
    let mut record = DayRecord::default();
    for part in parts {
        match *part {
            Part::Cell(cell, packets, bytes) => {
                record.traffic.as_flattened_mut().as_flattened_mut()[cell] =
                    Traffic { packets, bytes };
            }
            Part::Calls(protocol, counts) => record.calls[protocol] = Calls::of_fields(counts),
            Part::Address(hash) => {
                let mut sketch = Sketch::EMPTY;
                (0..1 + hash % 400).for_each(|n| sketch.insert(hash.wrapping_mul(2 * n + 1)));
                record.addresses.add(SeedTag(hash as u32 & 1), &sketch);
            }
            Part::Talker(key, count) => {
                let address = IpAddr::V6(Ipv6Addr::from(u128::MAX - u128::from(key)));
                let count = TalkerCount { packets: [count, 0], bytes: [count, count] };
                record.talkers.add(address, count);
            }
            Part::Program(key, count) => {
                let program = Program::new(&"/long".repeat(key.into()), &"é".repeat(40));
                record.add_bind(program, BindCount { succeeded: count, refused: 1 });
            }
            Part::Verdict(key, count) => record.add_verdict(&"v".repeat(key.into()), count),
            Part::State(state, time) => record.states[state] = time,
            Part::Packets(second) => record.note_packets_between(second, second),
        }
    }
    record
}

proptest! {
    #[test]
    fn a_day_is_at_most_four_kibibytes(parts in proptest::collection::vec(part(60, u64::MAX / 64), 0..120)) {
        let record = record(&parts);
        let bytes = record.encode();
        prop_assert!(bytes.len() <= MAX_DAY_BYTES, "{}", bytes.len());
        let read = DayRecord::decode(&bytes).expect("a record");
        prop_assert_eq!(read.programs.total(), record.programs.total());
        prop_assert_eq!(
            DayRecord { programs: record.programs.clone(), ..read },
            record
        );
    }

    #[test]
    fn damaged_days_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = DayRecord::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        let _ = DayRecord::decode(&bytes);
    }

    #[test]
    fn merging_days_is_associative_and_commutative(
        parts in proptest::collection::vec(proptest::collection::vec(part(4, 1000), 0..12), 3..4),
    ) {
        let records: Vec<DayRecord> = parts.iter().map(|parts| record(parts)).collect();
        let merged = |order: [usize; 3]| {
            let mut sum = DayRecord::default();
            order.iter().for_each(|index| sum.merge(&records[*index]));
            sum
        };
        let mut inner = records[1].clone();
        inner.merge(&records[2]);
        let mut nested = records[0].clone();
        nested.merge(&inner);
        prop_assert_eq!(&nested, &merged([0, 1, 2]));
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            prop_assert_eq!(&merged(order), &nested);
        }
    }
}

/// What happens to an agent and its host.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Packets and binds that the kernel counts.
    Counted(u8, u8),
    /// Time passes, and the counters are read.
    Read(u16),
    /// The clock is stepped.
    Step(i32),
    Save,
    /// The store does not take what is saved.
    FailedSave,
    /// The agent is killed, and starts again after this time.
    Killed(u16),
    /// The maps are removed meanwhile.
    Detached(u16),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        3 => (0_u8..9, 0_u8..3).prop_map(|(packets, binds)| Turn::Counted(packets, binds)),
        3 => (0_u16..90).prop_map(Turn::Read),
        1 => (-200_000..200_000_i32).prop_map(Turn::Step),
        2 => Just(Turn::Save),
        1 => Just(Turn::FailedSave),
        1 => (0_u16..3000).prop_map(Turn::Killed),
        1 => (0_u16..3000).prop_map(Turn::Detached),
    ];
    proptest::collection::vec(turn, 1..60)
}

/// The kernel, the store, and the agent between them.
struct World {
    wall: i64,
    boottime_ns: u64,
    epoch: u32,
    packets: u64,
    binds: u64,
    store: Store,
    chronicle: Chronicle,
}

#[derive(Default)]
struct Store {
    saved: Option<SavedChronicle>,
    cursors: BTreeMap<Series, Cursor>,
    days: BTreeMap<(Day, u16), DayRecord>,
    host: BTreeMap<Day, HostDay>,
    gap_ns: u64,
}

impl Store {
    fn apply(&mut self, changes: ChronicleChanges) {
        if changes.forgets_cursors {
            self.cursors.clear();
        }
        self.cursors.extend(changes.cursors);
        for (key, record) in changes.days {
            let bytes = self.days.remove(&key).unwrap_or_default().encode();
            let mut whole = DayRecord::decode(&bytes).expect("a record");
            whole.merge(&record);
            self.days.insert(key, whole);
        }
        for (day, host) in changes.host {
            self.host.entry(day).or_default().merge(&host);
        }
        self.gap_ns += changes.gaps.iter().map(|gap| gap.length_ns).sum::<u64>();
        self.saved = Some(changes.chronicle);
    }
}

impl World {
    fn new() -> Self {
        let chronicle = Chronicle::new(&start(NOON, 0, "0", false), 7);
        let store = Store::default();
        Self { wall: NOON, boottime_ns: 0, epoch: 0, packets: 0, binds: 0, store, chronicle }
    }

    fn pass(&mut self, seconds: u16) {
        self.wall += i64::from(seconds);
        self.boottime_ns += u64::from(seconds) * SECOND;
    }

    fn read(&mut self) {
        let chronicle = &mut self.chronicle;
        chronicle.begin_reading(at(self.wall, self.boottime_ns));
        let mut counters = PortCounters::default();
        counters.traffic[0][0][0] = Traffic { packets: self.packets, bytes: self.packets * 60 };
        counters.connection_attempts[0][0] = self.packets;
        chronicle.traffic(2, true, 2948, &counters);
        // The same packets on a member of a bridge.
        chronicle.traffic(3, false, 2948, &counters);
        let mut binds = SocketCounters::default();
        binds.binds[1] = [self.binds, 0, 0, 0];
        chronicle.sockets(2948, &binds);
        chronicle.state(2948, PortState::Probed, false);
        chronicle.finish_reading();
    }

    fn restart(&mut self) {
        let start = start(self.wall, self.boottime_ns, &self.epoch.to_string(), self.packets > 0);
        let cursors = self.store.cursors.clone();
        self.chronicle = match self.store.saved.clone() {
            Some(saved) => Chronicle::resume(saved, cursors, [], [], &start, 7),
            None => Chronicle::new(&start, 7),
        };
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Counted(packets, binds) => {
                self.packets += u64::from(packets);
                self.binds += u64::from(binds);
            }
            Turn::Read(seconds) => {
                self.pass(seconds);
                self.read();
            }
            Turn::Step(seconds) => self.wall += i64::from(seconds),
            Turn::Save => {
                let changes = self.chronicle.take_changes();
                self.store.apply(changes);
            }
            Turn::FailedSave => {
                let changes = self.chronicle.take_changes();
                self.chronicle.requeue(changes);
            }
            Turn::Killed(seconds) => {
                self.pass(seconds);
                self.restart();
            }
            Turn::Detached(seconds) => {
                self.pass(seconds);
                self.epoch += 1;
                (self.packets, self.binds) = (0, 0);
                self.restart();
            }
        }
    }
}

proptest! {
    #[test]
    fn restarts_gaps_and_clock_steps_lose_and_double_nothing(turns in turns()) {
        let mut world = World::new();
        // What is known before: a history without it does not know how old the counters are.
        world.turn(Turn::Save);
        let (mut packets, mut binds) = (0, 0);
        for turn in turns {
            if matches!(turn, Turn::Detached(_)) {
                // Without a last reading these are lost with the maps.
                world.read();
                world.turn(Turn::Save);
                packets += world.packets;
                binds += world.binds;
            }
            world.turn(turn);
        }
        world.read();
        world.turn(Turn::Save);
        packets += world.packets;
        binds += world.binds;
        let mut sum = DayRecord::default();
        world.store.days.values().for_each(|day| sum.merge(day));
        let cell = sum.traffic[0][0][0];
        prop_assert_eq!((cell.packets, cell.bytes), (packets, packets * 60));
        prop_assert_eq!(sum.all_calls().binds, binds);
        prop_assert_eq!(sum.all_calls().attempts, packets);
        let covered: u64 = world.store.host.values().map(|host| host.covered_ns).sum();
        prop_assert_eq!(covered + world.store.gap_ns, world.boottime_ns, "each second once");
    }
}

#[test]
fn a_reading_after_midnight_belongs_to_the_new_day() {
    let midnight = NOON - NOON % 86_400 + 86_400;
    let mut world = World::new();
    world.wall = midnight - 2;
    world.restart();
    world.packets = 3;
    world.turn(Turn::Read(1));
    world.packets = 10;
    world.turn(Turn::Read(1));
    world.turn(Turn::Save);
    let packets: Vec<(String, u64)> = world
        .store
        .days
        .iter()
        .map(|((day, _), record)| (day.to_string(), record.traffic[0][0][0].packets))
        .collect();
    let expected = [("2026-11-20".to_owned(), 3), ("2026-11-21".to_owned(), 7)];
    assert_eq!(packets, expected);
}

#[test]
fn counters_of_unknown_age_are_adopted_and_not_counted() {
    let mut world = World::new();
    world.packets = 100;
    world.restart();
    world.turn(Turn::Read(1));
    world.packets = 103;
    world.turn(Turn::Read(1));
    world.turn(Turn::Save);
    let packets: u64 = world.store.days.values().map(|day| day.traffic[0][0][0].packets).sum();
    assert_eq!(packets, 3);
}

#[test]
fn a_window_of_addresses_belongs_to_the_day_on_which_it_began() {
    let mut chronicle = Chronicle::new(&start(NOON, 0, "0", false), 7);
    let mut sketch = Sketch::EMPTY;
    sketch.insert(1 << 20);
    let midnight = NOON - NOON % 86_400 + 86_400;
    chronicle.begin_reading(at(midnight + 30, SECOND));
    let began = Timestamp::from_second(midnight - 70).expect("a time");
    for _ in 0..3 {
        chronicle.sketch(2948, Protocol::Udp, began, &sketch);
    }
    let changes = chronicle.take_changes();
    let days: Vec<String> = changes.days.keys().map(|(day, _)| day.to_string()).collect();
    assert_eq!(days, ["2026-11-20"]);
    chronicle.sketch(2948, Protocol::Udp, began, &sketch);
    assert!(chronicle.take_changes().days.is_empty(), "it was added already");
}

#[test]
fn talkers_count_from_zero_after_they_lost_their_row() {
    let mut chronicle = Chronicle::new(&start(NOON, 0, "0", false), 7);
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    for packets in [5, 8, 2] {
        chronicle.talker(2948, Protocol::Udp, address, [packets, 0, packets * 60, 0]);
    }
    let changes = chronicle.take_changes();
    let day = changes.days.values().next().expect("a day");
    let count = TalkerCount { packets: [10, 0], bytes: [600, 0] };
    assert_eq!(day.talkers.ranked(), [(&address, count)]);
}

#[test]
fn a_port_that_flaps_does_not_fill_the_history() {
    let mut chronicle = Chronicle::new(&start(NOON, 0, "0", false), 7);
    for second in 0..3600 {
        chronicle.begin_reading(at(NOON + second, second as u64 * SECOND));
        let state = if second % 2 == 0 { PortState::Bound } else { PortState::Quiet };
        chronicle.state(2948, state, false);
    }
    let changes = chronicle.take_changes();
    assert!((200..=206).contains(&changes.states.len()), "{}", changes.states.len());
    assert_eq!(changes.days.values().next().expect("a day").states[5] / SECOND, 1799);
}
