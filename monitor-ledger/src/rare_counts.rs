//! Packet counts of rare protocols in the last reading, and their growth.

use monitor_common::{
    flow::{Direction, Protocol, Side},
    rare::RareCounters,
};
use serde::{Deserialize, Serialize};

use crate::counts::Growth;

/// Counts of every interface and rare protocol with packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RareInterfaceCounts(Vec<Row>);

/// Counts of one interface and protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    interface: u32,
    /// IP protocol number.
    protocol: u8,
    /// Packets by direction and side.
    packets: [[u64; Side::ALL.len()]; Direction::ALL.len()],
    accepted: u64,
    begun: u64,
}

impl RareInterfaceCounts {
    /// Stores the current counts and returns their growth. A counter that shrank was reset, together
    /// with all others: then the growth is the current value.
    pub(super) fn advance(
        &mut self,
        interface: u32,
        protocol: Protocol,
        counters: &RareCounters,
    ) -> Growth {
        let now = Row {
            interface,
            protocol: protocol.ip_number(),
            packets: counters.traffic.map(|sides| sides.map(|traffic| traffic.packets)),
            accepted: counters.accepted,
            begun: counters.begun,
        };
        let is_same = |row: &&mut Row| row.interface == interface && row.protocol == now.protocol;
        match self.0.iter_mut().find(is_same) {
            Some(row) => now.since(protocol, Some(&std::mem::replace(row, now.clone()))),
            None => {
                self.0.push(now.clone());
                now.since(protocol, None)
            }
        }
    }

    /// Removes all but these interfaces; returns whether any were removed.
    pub(super) fn retain(&mut self, interfaces: &[u32]) -> bool {
        let before = self.0.len();
        self.0.retain(|row| interfaces.contains(&row.interface));
        self.0.len() < before
    }
}

impl Row {
    fn since(&self, protocol: Protocol, before: Option<&Self>) -> Growth {
        let cells = self.cells();
        let before = before.map_or([0; _], Self::cells);
        let was_reset = cells.iter().zip(&before).any(|(now, then)| now < then);
        let grown = |index: usize| cells[index] - if was_reset { 0 } else { before[index] };
        let packets = std::array::from_fn(|direction| {
            std::array::from_fn(|side| grown(direction * Side::ALL.len() + side))
        });
        let packets: [[u64; Side::ALL.len()]; Direction::ALL.len()] = packets;
        let answers = match protocol {
            Protocol::Sctp => grown(Self::PACKETS),
            _ => packets[Direction::Egress as usize][Side::Local as usize],
        };
        Growth { packets, begun: grown(Self::PACKETS + 1), answers }
    }

    const PACKETS: usize = Direction::ALL.len() * Side::ALL.len();

    fn cells(&self) -> [u64; Self::PACKETS + 2] {
        let packets = self.packets.as_flattened();
        std::array::from_fn(|index| match index.checked_sub(Self::PACKETS) {
            None => packets[index],
            Some(0) => self.accepted,
            Some(_) => self.begun,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(received: u64, sent: u64, accepted: u64, begun: u64) -> RareCounters {
        let mut counters = RareCounters { accepted, begun, ..RareCounters::ZERO };
        counters.traffic[0][0].packets = received;
        counters.traffic[1][0].packets = sent;
        counters
    }

    #[test]
    fn growth_is_by_interface_and_protocol() {
        let mut counts = RareInterfaceCounts::default();
        let growth = counts.advance(2, Protocol::Sctp, &counters(5, 4, 1, 0));
        assert_eq!((growth.of(Direction::Ingress, Side::Local), growth.answers), (5, 1));
        let growth = counts.advance(2, Protocol::UdpLite, &counters(5, 4, 0, 0));
        assert_eq!(growth.answers, 4, "every datagram answers");
        let growth = counts.advance(2, Protocol::Sctp, &counters(7, 4, 1, 3));
        assert_eq!((growth.of(Direction::Ingress, Side::Local), growth.begun), (2, 3));
        assert_eq!(growth.answers, 0);
    }

    #[test]
    fn counters_that_shrank_count_from_zero() {
        let mut counts = RareInterfaceCounts::default();
        counts.advance(2, Protocol::Sctp, &counters(5, 4, 1, 0));
        let growth = counts.advance(2, Protocol::Sctp, &counters(1, 9, 0, 0));
        assert_eq!(growth.of(Direction::Ingress, Side::Local), 1);
        assert!(counts.retain(&[3]) && !counts.retain(&[3]));
    }
}
