//! Counters as they were when they were last added to a day.

use std::net::IpAddr;

use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side, Traffic},
    rare::RareCounters,
    socket_event::BindResult,
};
use serde::{Deserialize, Serialize};

use super::record::{Calls, DayRecord, TalkerCount, add};

/// What is counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The port.
    pub port: u16,
    /// Index of the interface; 0 for socket calls.
    pub interface: u32,
    /// Which counters.
    pub kind: SeriesKind,
}

/// Which counters of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKind {
    /// Packets of TCP and UDP.
    Packets,
    /// Packets of a rare protocol.
    Rare(Protocol),
    /// Binds of a protocol.
    Binds(Protocol),
}

/// The counters of a series. They grow, and are reset together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub [u64; Cursor::LEN]);

/// The counts of a talker in the kernel's table when they were last added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalkerCursor {
    /// The port.
    pub port: u16,
    /// Its number in [`Protocol::ALL`].
    pub protocol: u8,
    /// The remote address.
    pub address: IpAddr,
    /// Packets and bytes, by direction.
    pub counts: [u64; 4],
}

impl SeriesKind {
    /// A number for the store.
    pub const fn number(self) -> u8 {
        match self {
            Self::Packets => 0,
            Self::Rare(protocol) => 16 + protocol as u8,
            Self::Binds(protocol) => 32 + protocol as u8,
        }
    }

    /// The kind with this number.
    pub fn of_number(number: u8) -> Option<Self> {
        let protocol = |offset: u8| {
            Protocol::ALL
                .into_iter()
                .find(|protocol| number.checked_sub(offset) == Some(*protocol as u8))
        };
        match number {
            0 => Some(Self::Packets),
            16..32 => protocol(16).map(Self::Rare),
            _ => protocol(32).map(Self::Binds),
        }
    }
}

impl Cursor {
    /// Packets and bytes of two protocols, directions and three sides, and four counts beside.
    pub const LEN: usize = CELLS * 2 + 4;

    /// The cursor as bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|count| count.to_le_bytes()).collect()
    }

    /// The cursor of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks();
        let counts: [[u8; 8]; Self::LEN] = words.try_into().ok()?;
        rest.is_empty().then(|| Self(counts.map(u64::from_le_bytes)))
    }

    pub(super) fn of_packets(counters: &PortCounters) -> Self {
        let attempts =
            counters.connection_attempts[Direction::Ingress as usize][Side::Local as usize];
        let begun = counters.connection_attempts[Direction::Egress as usize][Side::Remote as usize];
        let beside = [attempts, begun, counters.accepted, counters.begun_datagrams];
        Self::of_parts(counters.traffic.as_flattened().as_flattened(), beside)
    }

    pub(super) fn of_rare(counters: &RareCounters) -> Self {
        let beside = [0, counters.begun, counters.accepted, 0];
        Self::of_parts(counters.traffic.as_flattened(), beside)
    }

    pub(super) fn of_binds(binds: &[u64; BindResult::COUNT]) -> Self {
        let succeeded = binds[BindResult::Success as usize];
        let refused = binds.iter().sum::<u64>() - succeeded;
        Self::of_parts(&[], [succeeded, refused, 0, 0])
    }

    fn of_parts(traffic: &[Traffic], beside: [u64; 4]) -> Self {
        let mut counts = [0; Self::LEN];
        let (pairs, rest) = counts.as_chunks_mut::<2>();
        let last = pairs.len() - 2;
        for (pair, cell) in pairs[..last].iter_mut().zip(traffic) {
            *pair = [cell.packets, cell.bytes];
        }
        let [a, b, c, d] = beside;
        (pairs[last], pairs[last + 1]) = ([a, b], [c, d]);
        debug_assert!(rest.is_empty(), "the length is even");
        Self(counts)
    }

    /// The growth since `before`. Counters that shrank were reset, all of them together.
    pub(super) fn since(&self, before: &Self) -> Self {
        if self.0.iter().zip(&before.0).any(|(now, then)| now < then) {
            return *self;
        }
        Self(std::array::from_fn(|i| self.0[i] - before.0[i]))
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; Self::LEN]
    }

    fn cells(&self) -> impl Iterator<Item = Traffic> {
        let (pairs, _) = self.0.as_chunks::<2>();
        pairs
            .iter()
            .take(CELLS)
            .map(|[packets, bytes]| Traffic { packets: *packets, bytes: *bytes })
    }

    fn beside(&self) -> [u64; 4] {
        std::array::from_fn(|i| self.0[CELLS * 2 + i])
    }

    /// Adds growth of this kind to a day, at this second.
    pub(super) fn add_to(&self, record: &mut DayRecord, kind: SeriesKind, second: i64) {
        let [a, b, c, d] = self.beside();
        match kind {
            SeriesKind::Packets => {
                let cells = record.traffic.as_flattened_mut().as_flattened_mut();
                cells.iter_mut().zip(self.cells()).for_each(|(cell, more)| add(cell, more));
                let sent = self.0[Self::SENT_DATAGRAMS * 2];
                let tcp = Calls { attempts: a, begun: b, answers: c, ..Calls::default() };
                let udp = Calls { begun: d, answers: sent, ..Calls::default() };
                record.calls[Protocol::Tcp as usize].add(&tcp);
                record.calls[Protocol::Udp as usize].add(&udp);
            }
            SeriesKind::Rare(protocol) => {
                let cells = record.traffic[protocol as usize].as_flattened_mut();
                cells.iter_mut().zip(self.cells()).for_each(|(cell, more)| add(cell, more));
                let answers = if protocol.is_datagram() { self.0[Self::SENT * 2] } else { c };
                let calls = Calls { begun: b, answers, ..Calls::default() };
                record.calls[protocol as usize].add(&calls);
            }
            SeriesKind::Binds(protocol) => {
                let calls = Calls { binds: a, refused: b, ..Calls::default() };
                record.calls[protocol as usize].add(&calls);
                return;
            }
        }
        if self.is_activity(kind) {
            record.note_packets_between(second, second);
        }
    }

    /// Whether packets are activity of the port: at an address of this host, or of a flow that it began.
    fn is_activity(&self, kind: SeriesKind) -> bool {
        let [_, begun_connections, _, begun_datagrams] = self.beside();
        let is_local = |(index, cell): (usize, Traffic)| {
            index % Side::ALL.len() == Side::Local as usize && cell.packets > 0
        };
        let begun = match kind {
            SeriesKind::Packets => begun_connections + begun_datagrams,
            SeriesKind::Rare(_) => begun_connections,
            SeriesKind::Binds(_) => 0,
        };
        begun > 0 || self.cells().enumerate().any(is_local)
    }

    /// The cell of packets that leave from the port here, in the counters of one protocol.
    const SENT: usize = Direction::Egress as usize * Side::ALL.len() + Side::Local as usize;
    /// The same of UDP, in those of two.
    const SENT_DATAGRAMS: usize =
        Protocol::Udp as usize * Direction::ALL.len() * Side::ALL.len() + Self::SENT;
}

/// Cells of two protocols.
const CELLS: usize = 2 * Direction::ALL.len() * Side::ALL.len();

impl TalkerCount {
    /// The growth from `before` to `now`. A talker that lost its row in the kernel's table and got
    /// another one counts from zero.
    pub(super) fn grown(now: [u64; 4], before: Option<[u64; 4]>) -> Self {
        let before = before.filter(|then| now.iter().zip(then).all(|(now, then)| now >= then));
        let grown: [u64; 4] = std::array::from_fn(|i| now[i] - before.map_or(0, |then| then[i]));
        let [a, b, c, d] = grown;
        Self { packets: [a, b], bytes: [c, d] }
    }
}
