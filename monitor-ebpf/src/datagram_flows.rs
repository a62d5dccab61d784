//! Who began a UDP flow between this host and a watched port elsewhere.
//!
//! TCP has a SYN for that. Of a datagram it takes a memory of the flows: the first one that is seen
//! of a flow begins it. Such datagrams are rare, so that a hash does.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use monitor_common::{
    flow::{LOOPBACK, Protocol, Side},
    limits::DATAGRAM_FLOW_SILENCE_NS,
    packet::PackedSegment,
};

use crate::{
    datagram_flow::DatagramFlow,
    maps::DATAGRAM_FLOWS,
    network::Network,
    packet_program::{FlowDirection, PacketProgram},
    packet_view::PacketView as _,
};

/// Whether a packet is a datagram from or to a watched port elsewhere. The two ends of a datagram
/// over loopback are both here, and one program or another began it.
#[inline(always)]
pub(crate) fn is_remote_datagram<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
) -> bool {
    if !matches!(segment.protocol(), Protocol::Udp) {
        return false;
    }
    let (orientation, direction) = (segment.orientation(), P::Direction::VALUE);
    let is_source = matches!(orientation.side_of_source(direction), Side::Remote);
    let is_destination = matches!(orientation.side_of_destination(direction), Side::Remote);
    (is_source && segment.source_is_watched() || is_destination && segment.destination_is_watched())
        && packet.interface() != LOOPBACK
}

/// Notes such a datagram. Whether it is the first of its flow, and left from this host.
#[inline(always)]
pub(crate) fn begins_flow<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    protocol: Protocol,
) -> bool {
    let Some(network) = Network::read(packet, segment.network()) else { return false };
    let (source, destination) = (segment.source().0, segment.destination().0);
    let from_here =
        matches!(segment.orientation().side_of_source(P::Direction::VALUE), Side::Local);
    let (family, protocol) = (network.family.into(), protocol.ip_number().into());
    let flow = if from_here {
        DatagramFlow {
            here: network.source,
            there: network.destination,
            port_here: source,
            port_there: destination,
            family,
            protocol,
        }
    } else {
        DatagramFlow {
            here: network.destination,
            there: network.source,
            port_here: destination,
            port_there: source,
            family,
            protocol,
        }
    };
    // SAFETY: the helper takes no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(last) = DATAGRAM_FLOWS.get_ptr_mut(&flow) {
        // SAFETY: an aligned word of a map value, which is read and written whole.
        let last = unsafe { last.replace(now) };
        return from_here && now.saturating_sub(last) > DATAGRAM_FLOW_SILENCE_NS;
    }
    let is_noted = DATAGRAM_FLOWS.insert(&flow, now, 0).is_ok();
    from_here && is_noted
}
