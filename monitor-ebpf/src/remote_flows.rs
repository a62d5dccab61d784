//! Who began a flow between this host and a watched port elsewhere. If the peer did, its source port is
//! a watched one by chance: the flow says nothing of the service on that port.
//!
//! The first datagram that is seen of a flow begins it; of TCP the SYN does. Of flows of TCP only those
//! are noted that a peer began. All of them are rare, so that a hash does.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use monitor_common::{
    flow::{LOOPBACK, Protocol, Side},
    limits::REMOTE_FLOW_SILENCE_NS,
    packet::PackedSegment,
};

use crate::{
    maps::REMOTE_FLOWS,
    network::Network,
    packet_program::{FlowDirection, PacketProgram},
    packet_view::PacketView as _,
    remote_flow::RemoteFlow,
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

/// Bit 0 of what is noted of a flow: this host began it. The others are the time of its last packet.
const IS_OURS: u64 = 1;

/// Notes such a datagram. Whether it is the first of its flow, and left from this host.
#[inline(always)]
pub(crate) fn begins_flow<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    protocol: Protocol,
) -> bool {
    let Some(flow) = flow::<P>(packet, segment, protocol) else { return false };
    let from_here = is_from_here::<P>(segment);
    let (now, ours) = (now(), if from_here { IS_OURS } else { 0 });
    if let Some(noted) = REMOTE_FLOWS.get_ptr_mut(&flow) {
        // SAFETY: an aligned word of a map value, which is read and written whole.
        unsafe {
            let last = noted.read();
            let is_over = now.saturating_sub(last & !IS_OURS) > REMOTE_FLOW_SILENCE_NS;
            let began = if is_over { ours } else { last & IS_OURS };
            noted.write(now & !IS_OURS | began);
            return from_here && is_over;
        }
    }
    let is_noted = REMOTE_FLOWS.insert(&flow, now & !IS_OURS | ours, 0).is_ok();
    from_here && is_noted
}

/// Whether the peer is known to have begun the flow of a packet, of which the peer's port alone is
/// watched. Notes what a SYN says of that.
#[inline(always)]
pub(crate) fn is_peers<P: PacketProgram>(packet: P::View, segment: PackedSegment) -> bool {
    let protocol = segment.protocol();
    let Some(flow) = flow::<P>(packet, segment, protocol) else { return false };
    if matches!(protocol, Protocol::Tcp) && segment.is_syn() {
        let is_ours = is_from_here::<P>(segment) == segment.is_connection_attempt();
        if is_ours {
            let _ = REMOTE_FLOWS.remove(&flow);
        } else {
            let _ = REMOTE_FLOWS.insert(&flow, now() & !IS_OURS, 0);
        }
        return !is_ours;
    }
    match REMOTE_FLOWS.get_ptr_mut(&flow) {
        // SAFETY: an aligned word of a map value, which is read whole.
        Some(noted) => unsafe { noted.read() & IS_OURS == 0 },
        None => false,
    }
}

/// The flow of a packet, as this host has it.
#[inline(always)]
fn flow<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    protocol: Protocol,
) -> Option<RemoteFlow> {
    let network = Network::read(packet, segment.network())?;
    let (source, destination) = (segment.source().0, segment.destination().0);
    let (family, protocol) = (network.family.into(), protocol.ip_number().into());
    Some(if is_from_here::<P>(segment) {
        RemoteFlow {
            here: network.source,
            there: network.destination,
            port_here: source,
            port_there: destination,
            family,
            protocol,
        }
    } else {
        RemoteFlow {
            here: network.destination,
            there: network.source,
            port_here: destination,
            port_there: source,
            family,
            protocol,
        }
    })
}

#[inline(always)]
fn is_from_here<P: PacketProgram>(segment: PackedSegment) -> bool {
    matches!(segment.orientation().side_of_source(P::Direction::VALUE), Side::Local)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}
