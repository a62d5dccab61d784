//! Counter values of the last reading, and their growth.

use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side},
    rare::RareSocketCounters,
    socket_event::{BindResult, SocketCounters},
};
use serde::{Deserialize, Serialize};

use crate::by_protocol::ByProtocol;

/// Packets by protocol, direction and side, and what they say of conversations, as [`PortCounters`]
/// has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PacketCounts([u64; Self::LEN]);

/// Binds by protocol and result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BindCounts(ByProtocol<[u64; BindResult::COUNT]>);

/// What grew of one protocol since the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Packets by direction and side.
    pub(super) packets: [[u64; Side::ALL.len()]; Direction::ALL.len()],
    /// Conversations with the port on another host that this host began; repeated SYNs included.
    pub(super) begun: u64,
    /// Packets that answer, from the port at an address of this host: SYN-ACKs of TCP, INIT ACKs of
    /// SCTP, datagrams of the others.
    pub(super) answers: u64,
}

impl Growth {
    pub(super) const fn of(&self, direction: Direction, side: Side) -> u64 {
        self.packets[direction as usize][side as usize]
    }
}

/// Packet counts of every interface with packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterfaceCounts(Vec<(u32, PacketCounts)>);

impl From<&PortCounters> for PacketCounts {
    fn from(counters: &PortCounters) -> Self {
        let mut counts = [0; Self::LEN];
        let traffic = counters.traffic.as_flattened().as_flattened();
        counts.iter_mut().zip(traffic).for_each(|(count, traffic)| *count = traffic.packets);
        counts[Self::BEGUN_CONNECTIONS] =
            counters.connection_attempts[Direction::Egress as usize][Side::Remote as usize];
        counts[Self::BEGUN_DATAGRAMS] = counters.begun_datagrams;
        counts[Self::ACCEPTED] = counters.accepted;
        Self(counts)
    }
}

impl PacketCounts {
    /// The first cells are packets, with the side as the last index.
    const PACKETS: usize = Protocol::COMMON.len() * Direction::ALL.len() * Side::ALL.len();
    const BEGUN_CONNECTIONS: usize = Self::PACKETS;
    const BEGUN_DATAGRAMS: usize = Self::PACKETS + 1;
    const ACCEPTED: usize = Self::PACKETS + 2;
    const LEN: usize = Self::PACKETS + 3;

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The part of one of the common protocols.
    pub(super) fn of(&self, protocol: Protocol) -> Growth {
        const ROW: usize = Direction::ALL.len() * Side::ALL.len();
        let (rows, _) = self.0[protocol as usize * ROW..].as_chunks();
        let packets = [rows[0], rows[1]];
        let (begun, answers) = if protocol == Protocol::Tcp {
            (self.0[Self::BEGUN_CONNECTIONS], self.0[Self::ACCEPTED])
        } else {
            let sent = packets[Direction::Egress as usize][Side::Local as usize];
            (self.0[Self::BEGUN_DATAGRAMS], sent)
        };
        Growth { packets, begun, answers }
    }

    /// Growth since `before`. A counter that shrank was reset, together with all others: then the
    /// growth is the current value.
    fn since(&self, before: &Self) -> Self {
        if self.0.iter().zip(&before.0).any(|(now, then)| now < then) {
            return *self;
        }
        let mut grown = *self;
        grown.0.iter_mut().zip(&before.0).for_each(|(cell, then)| *cell -= then);
        grown
    }
}

impl BindCounts {
    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Successful and refused binds of `protocol`.
    pub(super) fn of(&self, protocol: Protocol) -> (u64, u64) {
        let results = &self.0[protocol];
        let succeeded = results[BindResult::Success as usize];
        (succeeded, results.iter().sum::<u64>() - succeeded)
    }

    /// Stores the counts of the common protocols and returns their growth, as
    /// [`PacketCounts::since`].
    pub(super) fn advance(&mut self, counters: &SocketCounters) -> Self {
        self.advance_rows(&Protocol::COMMON, |protocol| counters.binds[protocol as usize])
    }

    /// The same of a rare protocol.
    pub(super) fn advance_rare(
        &mut self,
        protocol: Protocol,
        counters: &RareSocketCounters,
    ) -> Self {
        self.advance_rows(&[protocol], |_| counters.binds)
    }

    fn advance_rows(
        &mut self,
        protocols: &[Protocol],
        now: impl Fn(Protocol) -> [u64; BindResult::COUNT],
    ) -> Self {
        let shrank = |protocol: &Protocol| {
            now(*protocol).iter().zip(&self.0[*protocol]).any(|(now, then)| now < then)
        };
        let were_reset = protocols.iter().any(shrank);
        let mut grown = Self::default();
        for protocol in protocols {
            let before = std::mem::replace(&mut self.0[*protocol], now(*protocol));
            grown.0[*protocol] = self.0[*protocol];
            if !were_reset {
                let cells = grown.0[*protocol].iter_mut().zip(&before);
                cells.for_each(|(cell, then)| *cell -= then);
            }
        }
        grown
    }
}

impl InterfaceCounts {
    /// Stores the current counts of `interface` and returns their growth.
    pub(super) fn advance(&mut self, interface: u32, now: PacketCounts) -> PacketCounts {
        match self.0.iter_mut().find(|(index, _)| *index == interface) {
            Some((_, before)) => now.since(&std::mem::replace(before, now)),
            None => {
                self.0.push((interface, now));
                now
            }
        }
    }

    /// Removes all but these interfaces; returns whether any were removed.
    pub(super) fn retain(&mut self, interfaces: &[u32]) -> bool {
        let before = self.0.len();
        self.0.retain(|(index, _)| interfaces.contains(index));
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(tcp_in: u64, udp_out: u64) -> PacketCounts {
        let mut counters = PortCounters::default();
        counters.traffic[0][0][0].packets = tcp_in;
        counters.traffic[1][1][1].packets = udp_out;
        (&counters).into()
    }

    #[test]
    fn growth_is_the_difference_by_interface() {
        let mut counts = InterfaceCounts::default();
        assert_eq!(counts.advance(1, packets(3, 1)), packets(3, 1));
        assert_eq!(counts.advance(2, packets(7, 0)), packets(7, 0), "an interface of its own");
        assert_eq!(counts.advance(1, packets(3, 4)), packets(0, 3));
        assert!(counts.advance(1, packets(3, 4)).is_zero());
    }

    #[test]
    fn counters_that_shrank_count_from_zero() {
        let mut counts = InterfaceCounts::default();
        counts.advance(1, packets(3, 4));
        assert_eq!(counts.advance(1, packets(1, 9)), packets(1, 9));
        assert!(counts.retain(&[2]) && !counts.retain(&[2]));
        assert_eq!(counts.advance(1, packets(1, 9)), packets(1, 9), "forgotten");
    }

    #[test]
    fn every_result_but_success_is_a_refusal() {
        let mut counts = BindCounts::default();
        let mut counters =
            SocketCounters { binds: [[1, 2, 3, 4], [5, 0, 0, 0]], ..Default::default() };
        let grown = counts.advance(&counters);
        assert_eq!((grown.of(Protocol::Tcp), grown.of(Protocol::Udp)), ((1, 9), (5, 0)));
        counters.binds[1][1] = 2;
        assert_eq!(counts.advance(&counters).of(Protocol::Udp), (0, 2));
        let reset = SocketCounters { binds: [[1, 0, 0, 0], [0; 4]], ..Default::default() };
        assert_eq!(counts.advance(&reset).of(Protocol::Tcp), (1, 0));
    }

    #[test]
    fn binds_of_a_rare_protocol_grow_by_themselves() {
        let mut counts = BindCounts::default();
        let common = SocketCounters { binds: [[1, 0, 0, 0], [2, 0, 0, 0]], ..Default::default() };
        counts.advance(&common);
        let mut rare = RareSocketCounters { binds: [3, 1, 0, 0], ..Default::default() };
        let grown = counts.advance_rare(Protocol::Sctp, &rare);
        assert_eq!((grown.of(Protocol::Sctp), grown.of(Protocol::Tcp)), ((3, 1), (0, 0)));
        assert!(counts.advance(&common).is_zero());
        rare.binds[0] = 4;
        assert_eq!(counts.advance_rare(Protocol::Sctp, &rare).of(Protocol::Sctp), (1, 0));
    }
}
