//! The ledger: any order of calls, scans, readings, saves and clocks keeps dormancy consistent.

#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use monitor_common::{
    flow::{PortCounters, Protocol},
    socket_event::SocketCounters,
};
use monitor_ledger::{
    CallKind, Change, ClockReading, CounterEpoch, Held, Ledger, SocketCall, Start, Transition,
    Watched,
};

const PORTS: [u16; 3] = [2923, 2948, 3717];
/// Two steps back and 14 forward, milliseconds.
const STEPS: [i64; 16] = [
    -40_000, -10, 0, 1, 10, 100, 900, 1_000, 1_100, 5_000, 10_000, 29_000, 30_000, 30_001, 60_000,
    400_000,
];

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    for step in input.chunks_exact(4) {
        world.step([step[0], step[1], step[2], step[3]]);
    }
});

struct World {
    ledger: Ledger,
    wall_ms: i64,
    boottime_ms: i64,
    counters: [PortCounters; 3],
    calls: [SocketCounters; 3],
    epoch: u8,
    /// Whether each port is dormant, by the transitions alone; none if it is not watched.
    dormant: [Option<bool>; 3],
    /// Time since the start, without steps back: no port is dormant for longer.
    longest_ms: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::new(start(reading(1_700_000_000_000, 1_000), 0, false)),
            wall_ms: 1_700_000_000_000,
            boottime_ms: 1_000,
            counters: Default::default(),
            calls: Default::default(),
            epoch: 0,
            dormant: [None; 3],
            longest_ms: 0,
        };
        world.watch(0b111);
        world
    }

    fn now(&self) -> ClockReading {
        reading(self.wall_ms, self.boottime_ms)
    }

    fn step(&mut self, [operation, port, detail, time]: [u8; 4]) {
        let passed = STEPS[usize::from(time & 15)];
        self.boottime_ms = (self.boottime_ms + passed).max(0);
        self.longest_ms += passed.max(0);
        self.wall_ms += STEPS[usize::from(time >> 4)];
        let index = usize::from(port) % PORTS.len();
        let protocol = if port & 0x80 == 0 { Protocol::Tcp } else { Protocol::Udp };
        match operation % 9 {
            0 | 1 => self.read(detail),
            2 => self.packet(index, protocol, detail),
            3 => self.call(index, protocol, detail),
            4 => self.scan(index, protocol, detail),
            5 => self.watch(detail),
            6 => self.restart(detail),
            7 => {
                let changes = self.ledger.take_changes();
                self.ledger.requeue(&changes);
            }
            _ => self.ledger.mark_unsaved(),
        }
        self.check_facts();
    }

    fn watch(&mut self, chosen: u8) {
        let now = self.now();
        let is_chosen = |index: &usize| chosen >> index & 1 == 1;
        let watched = (0..PORTS.len()).filter(is_chosen).map(|index| Watched {
            port: PORTS[index],
            dormant_after: Duration::from_secs(if index == 0 { 0 } else { 60 }),
            has_owners: index == 1,
        });
        self.ledger.watch(watched, now);
        self.dormant = PORTS.map(|port| self.ledger.facts(port).map(|facts| facts.is_dormant()));
    }

    fn packet(&mut self, index: usize, protocol: Protocol, detail: u8) {
        let sides = &mut self.counters[index].traffic[protocol as usize];
        let cell = &mut sides[usize::from(detail & 1)][usize::from(detail >> 1 & 1)];
        cell.packets = cell.packets.wrapping_add(u64::from(detail >> 2));
        cell.bytes = cell.bytes.wrapping_add(60);
    }

    fn read(&mut self, detail: u8) {
        let now = self.now();
        let mut transitions = Vec::new();
        let mut reading = self.ledger.begin_reading(now, &mut transitions);
        for (index, port) in PORTS.into_iter().enumerate() {
            reading.sockets(port, &self.calls[index]);
            reading.traffic(u32::from(detail & 3), port, &self.counters[index]);
        }
        // A reading that fails is dropped.
        if detail & 0xf0 != 0xf0 {
            reading.finish();
        }
        self.take(&transitions);
    }

    fn call(&mut self, index: usize, protocol: Protocol, detail: u8) {
        let kind = match detail & 7 {
            0 | 1 => CallKind::Bind,
            2 => CallKind::BindRefused,
            3 | 4 => CallKind::Listen,
            _ => CallKind::Close,
        };
        let result = usize::from(detail >> 4 & 3);
        if detail & 0x40 != 0 {
            self.calls[index].binds[protocol as usize][result] += 1;
        }
        if detail & 0x80 == 0 {
            let (at, port, expected) = (self.now(), PORTS[index], detail & 8 != 0);
            let call = SocketCall { at, port, protocol, kind, expected };
            let mut transitions = Vec::new();
            self.ledger.record_call(&call, &mut transitions);
            self.take(&transitions);
        }
    }

    fn scan(&mut self, index: usize, protocol: Protocol, detail: u8) {
        let sockets = u32::from(detail & 15);
        let port = PORTS[index];
        let held = Held {
            port,
            protocol,
            sockets,
            can_answer: detail & 16 != 0,
            can_accept: detail & 32 != 0,
            expected: u32::from(detail >> 7),
            unexpected: u32::from(detail >> 6 & 1),
        };
        let held = (sockets > 0).then_some(held);
        let mut transitions = Vec::new();
        let found = self.ledger.record_holders(self.now(), held, &mut transitions);
        for found in found {
            self.ledger.count_unexpected_binds(&found, u64::from(detail >> 5));
        }
        self.take(&transitions);
    }

    /// Saves everything and goes on as another agent, perhaps after a reboot or with new counters.
    fn restart(&mut self, detail: u8) {
        self.ledger.mark_unsaved();
        let changes = self.ledger.take_changes();
        let text = serde_json::to_string(&changes.ledger).expect("a saved ledger is JSON");
        let saved = serde_json::from_str(&text).expect("its own JSON is read");
        let before = PORTS.map(|port| self.ledger.facts(port));
        let ports = changes.ports.into_iter().filter_map(|(number, port)| {
            let text = serde_json::to_string(&port?).expect("a saved port is JSON");
            Some((number, serde_json::from_str(&text).expect("its own JSON is read")))
        });
        if detail & 1 != 0 {
            self.epoch = self.epoch.wrapping_add(1);
            (self.counters, self.calls) = Default::default();
        }
        let start = start(self.now(), self.epoch, detail & 2 != 0);
        let start =
            if detail & 4 != 0 { Start { boot_id: "later".into(), ..start } } else { start };
        self.ledger = Ledger::restore(&saved, ports, start).expect("the version is its own");
        for (port, before) in PORTS.into_iter().zip(before) {
            if let Some(before) = before {
                let after = self.ledger.facts(port).expect("a watched port is restored");
                assert_eq!(after.dormant_since, before.dormant_since, "a restart changes nothing");
            }
        }
        self.watch(
            self.dormant
                .iter()
                .enumerate()
                .fold(0, |chosen, (index, dormant)| chosen | u8::from(dormant.is_some()) << index),
        );
        self.longest_ms += i64::from(u32::MAX);
    }

    fn take(&mut self, transitions: &[Transition]) {
        for transition in transitions {
            let index = PORTS.iter().position(|port| *port == transition.port).expect("our port");
            match transition.change {
                Change::Awakened { dormant_for, .. } => {
                    assert_eq!(self.dormant[index], Some(true), "only a dormant port awakens");
                    let longest = Duration::from_millis(self.longest_ms.unsigned_abs());
                    assert!(dormant_for <= longest, "dormant for {dormant_for:?} of {longest:?}");
                    self.dormant[index] = Some(false);
                }
                Change::Dormant => {
                    assert_eq!(self.dormant[index], Some(false), "it was dormant already");
                    self.dormant[index] = Some(true);
                }
                Change::State { from, to } => assert_ne!(from, to, "a state changes"),
                Change::Answered { answers, .. } => assert!(answers > 0, "answers were counted"),
            }
        }
    }

    fn check_facts(&self) {
        for (port, dormant) in PORTS.into_iter().zip(self.dormant) {
            let facts = self.ledger.facts(port);
            assert_eq!(facts.map(|facts| facts.is_dormant()), dormant, "facts and transitions");
        }
    }
}

fn reading(wall_ms: i64, boottime_ms: i64) -> ClockReading {
    ClockReading {
        wall: Timestamp::from_millisecond(wall_ms).unwrap_or(Timestamp::UNIX_EPOCH),
        boottime_ns: boottime_ms.unsigned_abs() * 1_000_000,
    }
}

fn start(at: ClockReading, epoch: u8, adopted: bool) -> Start {
    let counters = CounterEpoch { id: format!("epoch {epoch}"), adopted };
    Start { at, boot_id: "boot".into(), counters }
}
