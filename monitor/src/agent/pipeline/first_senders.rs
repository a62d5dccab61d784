//! Who sent the first packets to watched ports since the last reading of the counters, which finds
//! that they awakened a port.

use std::{collections::BTreeMap, net::SocketAddr};

use monitor_common::{flow::Protocol, sample_record::SampleRecord};
use monitor_ledger::{Change, Transition};

use crate::classification;

/// Ports and protocols of which a sender is kept between two readings.
const MOST: usize = 4096;

/// The first sender to each port, by protocol.
#[derive(Debug, Default)]
pub(super) struct FirstSenders(BTreeMap<(u16, Protocol), SocketAddr>);

impl FirstSenders {
    /// Keeps the sender of a packet to a watched port, unless another one was first.
    pub(super) fn record(&mut self, sample: &SampleRecord, is_watched: impl Fn(u16) -> bool) {
        let Some((port, protocol, peer)) = classification::sender(sample, is_watched) else {
            return;
        };
        if self.0.len() < MOST {
            self.0.entry((port, protocol)).or_insert(peer);
        }
    }

    /// Who sent the packet that awakened the port.
    pub(super) fn of(&self, transition: &Transition) -> Option<SocketAddr> {
        let Change::Awakened { wake, .. } = transition.change else { return None };
        self.0.get(&(transition.port, wake.protocol())).copied()
    }

    /// Forgets all: a reading has counted their packets.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use monitor_common::{
        flow::{Direction, Orientation, Side},
        sample_record::SampleContent,
    };
    use monitor_ledger::Wake;

    use super::*;

    fn sample(from: [u8; 4], port: u16) -> SampleRecord {
        SampleRecord {
            content: SampleContent::Handshake,
            time_ns: 1,
            interface: 2,
            direction: Direction::Ingress,
            orientation: Orientation::Usual,
            protocol: Protocol::Tcp,
            source: (from, 40_000).into(),
            destination: ([10, 0, 0, 1], port).into(),
        }
    }

    fn awakened(port: u16, protocol: Protocol) -> Transition {
        let wake = Wake::Packet { protocol, direction: Direction::Ingress, side: Side::Local };
        let change = Change::Awakened { wake, dormant_for: Duration::ZERO };
        Transition { port, time: Timestamp::UNIX_EPOCH, change }
    }

    #[test]
    fn the_first_sender_since_a_reading_awakened_the_port() {
        let mut senders = FirstSenders::default();
        for (last, port) in [(1, 2948), (2, 2948), (3, 2949), (4, 80)] {
            senders.record(&sample([192, 0, 2, last], port), |port| port != 80);
        }
        let of = |senders: &FirstSenders, port, protocol| {
            senders.of(&awakened(port, protocol)).map(|peer| peer.to_string())
        };
        assert_eq!(of(&senders, 2948, Protocol::Tcp).as_deref(), Some("192.0.2.1:40000"));
        assert_eq!(of(&senders, 2949, Protocol::Tcp).as_deref(), Some("192.0.2.3:40000"));
        assert_eq!(of(&senders, 2948, Protocol::Udp), None);
        assert_eq!(of(&senders, 80, Protocol::Tcp), None);
        senders.forget();
        assert_eq!(of(&senders, 2948, Protocol::Tcp), None);
    }
}
