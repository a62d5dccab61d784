//! The straight path: a plain packet of a settled conversation between this host's watched port and
//! another host is counted without a call.
//!
//! Everything that it takes is looked up before the first addition, and one branch after the other
//! leaves for the longer way: a SYN, an address that is not at its first place in the table, both
//! ports watched, an interface or a port outside the flat array. So a packet is counted by either way,
//! once. What is noted of its conversation follows the same rule: all of it here, or all of it there.

use monitor_common::{
    addresses::{AddressControl, AddressKey},
    flow::{Direction, Protocol, Side, Traffic},
    packet::{PackedSegment, Segment, headers_len},
    sampling::{conversation_index, is_settled},
    sources::talker_key,
};

use crate::{
    addresses,
    bounds::masked,
    control::Control,
    counter::add,
    ends::Ends,
    maps::{CONVERSATIONS, index_of},
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView as _, WireSize},
    slots::flat_slot,
    sources::rows,
    traffic::add_traffic,
};

/// Counts a plain packet, if it is one of those. Bit 0 of `source` and `destination` says whether that
/// port is watched.
#[inline(always)]
pub(crate) fn count<P: PacketProgram>(
    packet: P::View,
    segment: &Segment,
    source: u64,
    destination: u64,
) -> bool {
    let (port, watched, other) = match P::Direction::VALUE {
        Direction::Ingress => (segment.destination, destination, source),
        Direction::Egress => (segment.source, source, destination),
    };
    if watched & !other & 1 == 0 || segment.is_syn() {
        return false;
    }
    let Some(ends) = packet.plain_ends(segment.offset) else { return false };
    let (here, there) = match P::Direction::VALUE {
        Direction::Ingress => (ends.destination, ends.source),
        Direction::Egress => (ends.source, ends.destination),
    };
    if !addresses::is_surely_ours(ends.key(here)) {
        return false;
    }
    let Some(index) = index_of(port) else { return false };
    let Some(slot) = flat_slot(packet.interface(), index) else { return false };
    let headers = headers_len(segment.protocol, segment.offset, segment.control);
    let size = packet.wire_size(headers);
    // SAFETY: the offset is within the slot, which the verifier has to see.
    unsafe { add_traffic(slot, offset::<P::Direction>(segment.protocol), size) };

    let key = talker_key(port, segment.protocol, ends.family);
    if !observe::<P>(segment, &ends, there, key, size) {
        P::observe(packet, PackedSegment::of(segment, source, destination));
    }
    true
}

/// Offset of the traffic of this host's side in a slot.
#[inline(always)]
fn offset<D: FlowDirection>(protocol: Protocol) -> u64 {
    const ROW: u64 = size_of::<[Traffic; Side::ALL.len()]>() as u64;
    const PROTOCOL: u64 = Direction::ALL.len() as u64 * ROW;
    let side = Side::Local as u64 * size_of::<Traffic>() as u64;
    masked::<0xf0>(protocol as u64 * PROTOCOL + D::INDEX as u64 * ROW + side)
}

/// Counts a packet for its remote address. Returns false, having done nothing, if the address has no
/// row, the row was not used in this window, or the conversation is not settled.
#[inline(always)]
fn observe<P: PacketProgram>(
    segment: &Segment,
    ends: &Ends,
    remote: [u64; 2],
    key: u32,
    size: WireSize,
) -> bool {
    let Some(Control { window, keys, .. }) = Control::read() else { return true };
    let (source, destination) = (keys.address(ends.source), keys.address(ends.destination));
    let remote_sum = match P::Direction::VALUE {
        Direction::Ingress => source,
        Direction::Egress => destination,
    };
    let ports = u32::from(segment.source.0) | u32::from(segment.destination.0) << 16;
    let flow = keys.flow(source, destination, ports, segment.protocol as u32);
    let Some(word) = CONVERSATIONS.get_ptr_mut(conversation_index(flow)) else { return false };
    // SAFETY: a word is read whole.
    let word = unsafe { word.read_volatile() };
    if !is_settled(word, flow, window, P::Direction::INDEX) {
        return false;
    }
    let Some(set) = rows(remote_sum, key) else { return false };
    // SAFETY: rows that only this CPU writes; userspace reads single aligned words.
    let [one, other] = unsafe { &mut *set };
    let row = if one.is(remote, key) {
        one
    } else if other.is(remote, key) {
        other
    } else {
        return false;
    };
    if row.last_window != window {
        return false;
    }
    row.weight = row.weight.saturating_add(size.packets as u32);
    // SAFETY: aligned words of a row.
    unsafe {
        add(&raw mut row.packets[P::Direction::INDEX], size.packets);
        add(&raw mut row.bytes[P::Direction::INDEX], size.bytes);
    }
    true
}
