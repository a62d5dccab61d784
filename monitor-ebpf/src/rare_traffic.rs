//! Packets of UDP-Lite and SCTP: parsed and counted apart from the others, so that those pay nothing.

use monitor_common::{
    errors::KernelError,
    flow::{Direction, LOOPBACK, Protocol, Side, Traffic},
    packet::{PackedSegment, headers_len},
    ports::WirePort,
    rare::{RareCounters, RareKey, SCTP_HEADER_LEN, chunk},
};

use crate::{
    bounds::masked,
    maps::{RARE_TRAFFIC, add_atomic, count_error, entry},
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView as _, WireSize},
    remote_flows::begins_flow,
};

/// Counts a segment of a rare protocol for each of its ends that is on a watched port.
#[inline(always)]
pub(crate) fn count<P: PacketProgram>(packet: P::View, segment: PackedSegment, protocol: Protocol) {
    let size = packet.wire_size(headers_len(protocol, segment.offset(), 0));
    let first_chunk = match protocol {
        Protocol::Sctp => first_chunk::<P>(packet, segment),
        _ => 0,
    };
    let (orientation, direction) = (segment.orientation(), P::Direction::VALUE);
    let is_egress = matches!(direction, Direction::Egress);
    if segment.source_is_watched() {
        let side = orientation.side_of_source(direction);
        let accepts = is_egress && matches!(side, Side::Local) && first_chunk == chunk::INIT_ACK;
        let meaning = if accepts { Meaning::Accepts } else { Meaning::Nothing };
        add_end::<P>(packet, protocol, segment.source(), side, size, meaning);
        if matches!((protocol, side), (Protocol::UdpLite, Side::Remote)) {
            // An answer, or the first datagram of a flow that the peer begins.
            let _ = begins_flow::<P>(packet, segment, protocol);
        }
    }
    if segment.destination_is_watched() {
        let side = orientation.side_of_destination(direction);
        let begins = matches!(side, Side::Remote)
            && packet.interface() != LOOPBACK
            && begins::<P>(packet, segment, protocol, first_chunk);
        let meaning = if begins { Meaning::Begins } else { Meaning::Nothing };
        add_end::<P>(packet, protocol, segment.destination(), side, size, meaning);
    }
}

/// What a packet says beside that it was there.
#[derive(Clone, Copy)]
enum Meaning {
    Nothing,
    /// This host accepts an association.
    Accepts,
    /// This host begins a flow.
    Begins,
}

/// Whether a packet to a watched port elsewhere begins its flow.
#[inline(always)]
fn begins<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    protocol: Protocol,
    first_chunk: u8,
) -> bool {
    match protocol {
        Protocol::Sctp => first_chunk == chunk::INIT,
        _ => begins_flow::<P>(packet, segment, protocol),
    }
}

/// Type of the first chunk of an SCTP packet, 0 if there is none.
#[inline(always)]
fn first_chunk<P: PacketProgram>(packet: P::View, segment: PackedSegment) -> u8 {
    let chunk = match packet.copied(segment.offset() + SCTP_HEADER_LEN) {
        Some([word]) => u16::to_ne_bytes(word)[0],
        None => 0,
    };
    // Opaque to the compiler, which would keep apart whether there is one, and then read a number that
    // was never written. Linux before 6.3 rejects that.
    masked::<0xff>(chunk.into()) as u8
}

/// Adds to the counters of one end.
#[inline(always)]
fn add_end<P: PacketProgram>(
    packet: P::View,
    protocol: Protocol,
    port: WirePort,
    side: Side,
    size: WireSize,
    meaning: Meaning,
) {
    const ROW: u32 = size_of::<[Traffic; Side::ALL.len()]>() as u32;
    let key = RareKey::of_packets(packet.interface(), port.number(), protocol);
    let Some(counters) = entry(&RARE_TRAFFIC, &key, RareCounters::ZERO) else {
        return count_error(KernelError::RareFull);
    };
    let traffic = P::Direction::INDEX as u32 * ROW + side as u32 * size_of::<Traffic>() as u32;
    // For the verifier, which forgets the bounds of what was in memory.
    let traffic = masked::<0x70>(traffic.into()) as usize;
    if traffic > size_of::<RareCounters>() - size_of::<Traffic>() {
        return;
    }
    let packets: *mut u64 = counters.wrapping_byte_add(traffic).cast();
    add_atomic(packets, size.packets);
    add_atomic(packets.wrapping_add(1), size.bytes);
    // SAFETY: only addresses of members are taken.
    let (accepted, begun) = unsafe { (&raw mut (*counters).accepted, &raw mut (*counters).begun) };
    match meaning {
        Meaning::Accepts => add_atomic(accepted, size.packets),
        Meaning::Begins => add_atomic(begun, 1),
        Meaning::Nothing => {}
    }
}
