//! What distinguishes the traffic programs: how they see a packet, and which way it goes.

use monitor_common::{flow::Direction, packet::PackedSegment};

use crate::packet_view::PacketView;

/// A traffic program, as a type.
pub(crate) trait PacketProgram {
    /// How it reads its packets.
    type View: PacketView;

    /// Which way its packets cross the interface.
    type Direction: FlowDirection;

    /// Finds the watched segment in a packet of any shape, or counts the packet as unclassified.
    fn classify(packet: Self::View) -> PackedSegment;

    /// Counts and observes a segment on a watched port.
    fn handle(packet: Self::View, segment: PackedSegment);

    /// Observes a segment on a watched port of this host that is counted already.
    fn observe(packet: Self::View, segment: PackedSegment);
}

/// A [`Direction`], as a type: code that serves one direction has no branch for the other.
pub(crate) trait FlowDirection {
    /// The direction.
    const VALUE: Direction;

    /// Index of the direction in counters.
    const INDEX: usize = Self::VALUE as usize;
}

/// [`Direction::Ingress`].
pub(crate) struct Ingress;

/// [`Direction::Egress`].
pub(crate) struct Egress;

impl FlowDirection for Ingress {
    const VALUE: Direction = Direction::Ingress;
}

impl FlowDirection for Egress {
    const VALUE: Direction = Direction::Egress;
}
