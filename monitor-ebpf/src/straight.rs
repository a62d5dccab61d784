//! The straight path: a plain packet of a settled conversation, on one watched port, is counted without
//! a call.
//!
//! Everything that counting takes is looked up before the first addition, and one branch after the
//! other leaves for the longer way: a SYN, both ports watched, a datagram to or from a peer's port, an
//! address that is not at its first place in the table, an interface or a port outside the flat array.
//! So a packet is counted by either way, and once. What is noted of its conversation follows the same
//! rule: all of it here, or all of it there.

use core::hint::cold_path;

use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side},
    packet::{PackedSegment, Segment, headers_len},
    ports::WirePort,
    sampling::{AddressWords, conversation_index, is_settled},
    sources::{Talker, talker_key},
};

use crate::{
    addresses,
    control::Control,
    counter::{add_traffic, traffic_offset},
    ends::Ends,
    maps::{CONVERSATIONS, index_of},
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView as _, WireSize},
    slots::{cpu, flat_slot},
    sources::{add_to_row, rows},
};

/// Counts a plain packet, of which a port is watched: bit 0 of `source` and `destination` says which.
/// Returns the segment of one that is for the longer way.
#[inline(always)]
pub(crate) fn count<P: PacketProgram>(
    packet: P::View,
    segment: &Segment,
    source: u64,
    destination: u64,
) -> PackedSegment {
    let (here, there) = match P::Direction::VALUE {
        Direction::Ingress => (destination, source),
        Direction::Egress => (source, destination),
    };
    if segment.is_syn() {
        cold_path();
        return PackedSegment::of(segment, source, destination);
    }
    // Each call has a copy of the code, in which the side is a constant.
    if here & 1 != 0 {
        if there & 1 != 0 {
            cold_path();
            return PackedSegment::of(segment, 1, 1);
        }
        count_end::<P>(packet, segment, Side::Local)
    } else if matches!(segment.protocol, Protocol::Tcp) {
        count_end::<P>(packet, segment, Side::Remote)
    } else {
        // Who began the flow is for the longer way.
        packed::<P>(segment, Side::Remote)
    }
}

/// Counts a plain packet whose watched port is at one end.
#[inline(always)]
fn count_end<P: PacketProgram>(packet: P::View, segment: &Segment, side: Side) -> PackedSegment {
    let Some((slot, ends, cpu)) = find::<P>(packet, segment, side) else {
        cold_path();
        return packed::<P>(segment, side);
    };
    let headers = headers_len(segment.protocol, segment.offset, segment.control);
    let size = packet.wire_size(headers);
    // SAFETY: the offset of a traffic in the slot.
    unsafe { add_traffic(slot, offset::<P::Direction>(segment.protocol, side), size) };
    if !observe::<P>(segment, side, &ends, cpu, size) {
        cold_path();
        P::observe(packet, packed::<P>(segment, side));
    }
    PackedSegment::NONE
}

/// The slot of the watched port, the addresses of the packet, and this CPU.
#[inline(always)]
fn find<P: PacketProgram>(
    packet: P::View,
    segment: &Segment,
    side: Side,
) -> Option<(*mut PortCounters, Ends, u32)> {
    let ends = packet.plain_ends(segment.offset)?;
    let here = match P::Direction::VALUE {
        Direction::Ingress => ends.destination,
        Direction::Egress => ends.source,
    };
    if !addresses::is_surely_ours(ends.key(here)) {
        return None;
    }
    let index = index_of(watched_port::<P::Direction>(segment, side))?;
    let cpu = cpu();
    let slot = flat_slot(packet.interface(), index, cpu)?;
    Some((slot, ends, cpu))
}

/// Whether the watched port is that of the source.
#[inline(always)]
const fn is_source<D: FlowDirection>(side: Side) -> bool {
    matches!(
        (D::VALUE, side),
        (Direction::Egress, Side::Local) | (Direction::Ingress, Side::Remote)
    )
}

#[inline(always)]
const fn watched_port<D: FlowDirection>(segment: &Segment, side: Side) -> WirePort {
    if is_source::<D>(side) { segment.source } else { segment.destination }
}

/// The segment, for the longer way.
#[inline(always)]
const fn packed<P: PacketProgram>(segment: &Segment, side: Side) -> PackedSegment {
    let is_source = is_source::<P::Direction>(side);
    PackedSegment::of(segment, is_source as u64, !is_source as u64)
}

/// Offset of the traffic of a side in a slot.
#[inline(always)]
const fn offset<D: FlowDirection>(protocol: Protocol, side: Side) -> u64 {
    traffic_offset(protocol as u64, D::INDEX as u64, side as u64)
}

/// Counts a packet for its remote address. Returns false, having done nothing, if the address has no
/// row or the conversation is not settled.
#[inline(always)]
fn observe<P: PacketProgram>(
    segment: &Segment,
    side: Side,
    ends: &Ends,
    cpu: u32,
    size: WireSize,
) -> bool {
    let window = Control::window();
    if window == 0 {
        return true;
    }
    let keys = Control::keys();
    let (source, destination) = (keys.address(ends.source), keys.address(ends.destination));
    let (remote, remote_sum) = match P::Direction::VALUE {
        Direction::Ingress => (ends.source, source),
        Direction::Egress => (ends.destination, destination),
    };
    let ports = u32::from(segment.source.0) | u32::from(segment.destination.0) << 16;
    let flow = keys.flow(source, destination, ports, segment.protocol as u32);
    let Some(word) = CONVERSATIONS.get_ptr_mut(conversation_index(flow)) else { return false };
    // SAFETY: a word is read whole.
    let word = unsafe { word.read_volatile() };
    if !is_settled(word, flow, window, P::Direction::INDEX) {
        return false;
    }
    let port = watched_port::<P::Direction>(segment, side);
    let key = talker_key(port, segment.protocol, ends.family);
    let Some(set) = rows(cpu, remote_sum, key) else { return false };
    // SAFETY: rows that only this CPU writes; userspace reads single aligned words.
    let [one, other] = unsafe { &mut *set };
    let row = if is_of(one, ends, remote, key) {
        one
    } else if is_of(other, ends, remote, key) {
        other
    } else {
        return false;
    };
    add_to_row::<P::Direction>(row, window, size);
    true
}

/// Whether a row is that of an address. Of IPv4, the key says that the second word is 0.
#[inline(always)]
fn is_of(row: &Talker, ends: &Ends, remote: AddressWords, key: u32) -> bool {
    let differs = (row.address[0] ^ remote[0]) | (u64::from(row.key) ^ u64::from(key));
    if ends.family == 4 { differs == 0 } else { differs | (row.address[1] ^ remote[1]) == 0 }
}
