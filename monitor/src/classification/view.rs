//! A sampled packet as the end with the watched port sees it.

use std::net::SocketAddr;

use monitor_common::{
    flow::{Direction, LOOPBACK, Protocol, Side},
    sample_record::SampleRecord,
};
use monitor_identify::{Identification, Payload, identify};

use super::finding::{Finding, PayloadFacts};

/// Both ends of a conversation, in an order that does not depend on the direction.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Who sent a packet to a watched port of this host: the port, the protocol and the peer. `None` of a
/// packet that went elsewhere.
pub fn sender(
    sample: &SampleRecord,
    is_watched: impl Fn(u16) -> bool,
) -> Option<(u16, Protocol, SocketAddr)> {
    let view = View::of(sample, is_watched)?;
    let is_to_port = view.direction == Direction::Ingress && view.local.port() == view.port;
    is_to_port.then_some((view.port, view.protocol, view.peer))
}

/// A packet as one of its ends sees it.
pub(super) struct View {
    port: u16,
    protocol: Protocol,
    direction: Direction,
    local: SocketAddr,
    peer: SocketAddr,
}

impl View {
    /// The view of the end whose port is watched; `None` if no port is, or if this host only passes the
    /// packet on.
    pub(super) fn of(sample: &SampleRecord, is_watched: impl Fn(u16) -> bool) -> Option<Self> {
        let SampleRecord { direction, orientation, protocol, source, destination, .. } = *sample;
        let (direction, local, peer) = match orientation.side_of_source(direction) {
            Side::Local => (Direction::Egress, source, destination),
            Side::Remote => (Direction::Ingress, destination, source),
            Side::Transit => return None,
        };
        let view = |local: SocketAddr, peer, direction| Self {
            port: local.port(),
            protocol,
            direction,
            local,
            peer,
        };
        if is_watched(local.port()) {
            return Some(view(local, peer, direction));
        }
        if !is_watched(peer.port()) {
            return None;
        }
        // Over loopback both ends are on this host, and the one with the watched port is local.
        if sample.interface == LOOPBACK {
            let direction = match direction {
                Direction::Ingress => Direction::Egress,
                Direction::Egress => Direction::Ingress,
            };
            return Some(view(peer, local, direction));
        }
        Some(Self { port: peer.port(), ..view(local, peer, direction) })
    }

    pub(super) fn ends(&self) -> Ends {
        (self.local.min(self.peer), self.local.max(self.peer))
    }

    /// Identifies a payload of which `bytes` were captured.
    pub(super) fn payload(self, sample: &SampleRecord, bytes: &[u8], wire_len: usize) -> Finding {
        let wire_len = wire_len.max(bytes.len());
        let (source, destination) = match self.direction {
            Direction::Ingress => (self.peer, self.local),
            Direction::Egress => (self.local, self.peer),
        };
        let identification = identify(&Payload {
            bytes,
            wire_len,
            transport: Some(self.protocol),
            source_port: Some(source.port()),
            destination_port: Some(destination.port()),
            direction: Some(self.direction),
        });
        let payload = PayloadFacts { size: wire_len, bytes: bytes.to_vec() };
        self.finding(sample, identification, Some(payload))
    }

    pub(super) fn finding(
        self,
        sample: &SampleRecord,
        identification: Identification,
        payload: Option<PayloadFacts>,
    ) -> Finding {
        let Self { port, protocol, direction, local, peer } = self;
        Finding {
            time_ns: sample.time_ns,
            interface: sample.interface,
            port,
            protocol,
            direction,
            local,
            peer,
            identification,
            payload,
        }
    }
}
