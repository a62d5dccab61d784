//! A day of a port.

use std::net::IpAddr;

use monitor_common::flow::{Direction, Protocol, Side, Traffic};

use super::{
    distinct::Distinct,
    leaders::{Count, Leaders},
};
use crate::state::PortState;

/// Talkers that are kept; the report shows ten.
pub const MOST_TALKERS: usize = 16;
/// Programs that are kept.
pub const MOST_PROGRAMS: usize = 8;
/// Verdicts that are kept.
pub const MOST_VERDICTS: usize = 12;

/// Bytes of a name that are kept.
pub(super) const EXECUTABLE_LEN: usize = 96;
pub(super) const NAME_LEN: usize = 32;

/// What happened on a port on a day. Two records of the same day merge into one, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayRecord {
    /// Packets and bytes of edge interfaces, by protocol, direction and side.
    pub traffic: [[[Traffic; 3]; 2]; Protocol::COUNT],
    /// Flows, answers and binds, by protocol.
    pub calls: [Calls; Protocol::COUNT],
    /// When the first and the last packet was counted that is activity of the port, seconds since
    /// 1970: the time of the reading.
    pub packets_between: Option<(i64, i64)>,
    /// Remote addresses.
    pub addresses: Distinct,
    /// Those with the most packets.
    pub talkers: Leaders<IpAddr, TalkerCount, MOST_TALKERS>,
    /// Programs that bound the port or were refused.
    pub programs: Leaders<Program, BindCount, MOST_PROGRAMS>,
    /// Payloads by what they were identified as.
    pub verdicts: Leaders<String, u64, MOST_VERDICTS>,
    /// Covered time in each state but quiet, nanoseconds, in the order of [`PortState::ALL`].
    pub states: [u64; PortState::ALL.len()],
}

/// Counts of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// TCP connections that others attempted to the port here: segments with SYN and without ACK.
    pub attempts: u64,
    /// Flows that this host began to the port elsewhere.
    pub begun: u64,
    /// Connections accepted at the port here; of datagrams those that left from it.
    pub answers: u64,
    /// Binds that succeeded.
    pub binds: u64,
    /// Binds that were refused.
    pub refused: u64,
}

/// Packets and bytes of an address, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TalkerCount {
    /// Packets.
    pub packets: [u64; 2],
    /// Frame bytes.
    pub bytes: [u64; 2],
}

/// A program that binds, and its user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Path of the executable; empty if it is not known.
    pub executable: String,
    /// Name of the user, or number; empty if it is not known.
    pub user: String,
}

/// Binds of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindCount {
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that were refused.
    pub refused: u64,
}

impl Count for TalkerCount {
    fn add(&mut self, other: &Self) {
        for direction in 0..2 {
            let sum = |a: u64, b: u64| a.saturating_add(b);
            self.packets[direction] = sum(self.packets[direction], other.packets[direction]);
            self.bytes[direction] = sum(self.bytes[direction], other.bytes[direction]);
        }
    }

    fn weight(&self) -> u64 {
        self.packets[0].saturating_add(self.packets[1])
    }
}

impl Count for BindCount {
    fn add(&mut self, other: &Self) {
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.refused = self.refused.saturating_add(other.refused);
    }

    fn weight(&self) -> u64 {
        self.succeeded.saturating_add(self.refused)
    }
}

impl Count for u64 {
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn weight(&self) -> u64 {
        *self
    }
}

impl Calls {
    pub(super) const FIELDS: usize = 5;

    pub(super) const fn fields(&self) -> [u64; Self::FIELDS] {
        [self.attempts, self.begun, self.answers, self.binds, self.refused]
    }

    pub(super) const fn of_fields(fields: [u64; Self::FIELDS]) -> Self {
        let [attempts, begun, answers, binds, refused] = fields;
        Self { attempts, begun, answers, binds, refused }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let (mine, others) = (self.fields(), other.fields());
        *self = Self::of_fields(std::array::from_fn(|i| mine[i].saturating_add(others[i])));
    }
}

impl Program {
    /// The program, with names that are cut to what is kept.
    pub fn new(executable: &str, user: &str) -> Self {
        Self {
            executable: cut(executable, EXECUTABLE_LEN).to_owned(),
            user: cut(user, NAME_LEN).to_owned(),
        }
    }
}

impl DayRecord {
    /// Adds what another record of the same day and port has.
    pub fn merge(&mut self, other: &Self) {
        let mine = self.traffic.as_flattened_mut().as_flattened_mut();
        for (cell, more) in mine.iter_mut().zip(other.traffic.as_flattened().as_flattened()) {
            add(cell, *more);
        }
        self.calls.iter_mut().zip(&other.calls).for_each(|(calls, more)| calls.add(more));
        if let Some((first, last)) = other.packets_between {
            self.note_packets_between(first, last);
        }
        self.addresses.merge(&other.addresses);
        self.talkers.merge(&other.talkers);
        self.programs.merge(&other.programs);
        self.verdicts.merge(&other.verdicts);
        for (time, more) in self.states.iter_mut().zip(other.states) {
            *time = time.saturating_add(more);
        }
    }

    /// Packets and bytes of one side, all protocols together.
    pub fn side(&self, direction: Direction, side: Side) -> Traffic {
        let mut sum = Traffic::default();
        for protocol in &self.traffic {
            add(&mut sum, protocol[direction as usize][side as usize]);
        }
        sum
    }

    /// Counts of all protocols together.
    pub fn all_calls(&self) -> Calls {
        let mut sum = Calls::default();
        self.calls.iter().for_each(|calls| sum.add(calls));
        sum
    }

    /// Notes packets in this time, seconds since 1970.
    pub(super) fn note_packets_between(&mut self, first: i64, last: i64) {
        let (begin, end) = self.packets_between.unwrap_or((first, last));
        self.packets_between = Some((begin.min(first), end.max(last)));
    }

    /// Adds binds of a program.
    pub fn add_bind(&mut self, program: Program, count: BindCount) {
        self.programs.add(program, count);
    }

    /// Adds identified payloads.
    pub fn add_verdict(&mut self, verdict: &str, count: u64) {
        self.verdicts.add(cut(verdict, NAME_LEN).to_owned(), count);
    }
}

pub(super) fn add(sum: &mut Traffic, more: Traffic) {
    sum.packets = sum.packets.saturating_add(more.packets);
    sum.bytes = sum.bytes.saturating_add(more.bytes);
}

/// The beginning of a text, at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
