//! Counting: parse a packet, test two bits, and on a hit add to this CPU's slot.
//!
//! Nearly all packets are plain and on unwatched ports. A program recognizes them inline, in few
//! enough instructions to need neither a stack nor a saved register. Nearly all others are plain
//! packets of a conversation that is known, and are counted inline too
//! ([`straight`](crate::straight)). Everything else is a call. The calls pass a packet's facts in one
//! register: the stack is limited to eight frames and 512 bytes, and the verifier tracks every value
//! on it.

use core::mem::offset_of;

use monitor_common::{
    flow::{Direction, PortCounters, Side, UnclassifiedCounters},
    packet::{PackedSegment, PlainVisitor, Segment, Unclassified},
    ports::WirePort,
};

use crate::{
    bounds::masked,
    counter::{add, add_traffic, traffic_offset},
    maps::watched_bit,
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView as _, WireSize},
    slots::{slot, slot_of},
    straight,
};

/// Counts a packet.
#[inline(always)]
pub(crate) fn count<P: PacketProgram>(packet: P::View) {
    let segment = match packet.visit_plain(Plain::<P>(packet)) {
        Some(segment) => segment,
        None if packet.is_not_ip() => return,
        None => P::classify(packet),
    };
    if segment != PackedSegment::NONE {
        P::handle(packet, segment);
    }
}

/// Counts a plain packet, or returns its segment for the longer way.
struct Plain<P: PacketProgram>(P::View);

impl<P: PacketProgram> PlainVisitor for Plain<P> {
    type Output = PackedSegment;

    #[inline(always)]
    fn visit(self, segment: Segment) -> PackedSegment {
        let source = watched_bit(segment.source);
        let destination = watched_bit(segment.destination);
        // One branch for nearly all packets.
        if (source | destination) & 1 == 0 {
            return PackedSegment::NONE;
        }
        straight::count::<P>(self.0, &segment, source, destination)
    }
}

/// The segment in a packet of any shape, if one of its ports is watched. Counts a packet whose ports
/// cannot be determined as unclassified.
#[inline(always)]
pub(crate) fn classify<P: PacketProgram>(packet: P::View) -> PackedSegment {
    let parsed = packet.parse();
    if let Some(segment) = parsed.segment() {
        return watched(segment);
    }
    if let Some(cause) = parsed.unclassified() {
        count_unclassified(packet.interface(), cause, P::Direction::VALUE);
    }
    PackedSegment::NONE
}

/// The segment, if one of its ports is watched.
#[inline(always)]
fn watched(segment: &Segment) -> PackedSegment {
    let source = watched_bit(segment.source);
    let destination = watched_bit(segment.destination);
    if (source | destination) & 1 == 0 {
        return PackedSegment::NONE;
    }
    PackedSegment::of(segment, source, destination)
}

/// Counts a segment for each of its ends that is on a watched port: each is a series of its own.
#[inline(always)]
pub(crate) fn count_segment<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    size: WireSize,
) {
    let (orientation, direction) = (segment.orientation(), P::Direction::VALUE);
    let interface = packet.interface();
    if segment.source_is_watched() {
        let side = orientation.side_of_source(direction);
        add_end::<P::Direction>(interface, segment, segment.source(), side, size);
        if matches!(direction, Direction::Egress)
            && matches!(side, Side::Local)
            && segment.is_connection_answer()
        {
            add_accepted(interface, segment.source(), size.packets);
        }
    }
    if segment.destination_is_watched() {
        let side = orientation.side_of_destination(direction);
        add_end::<P::Direction>(interface, segment, segment.destination(), side, size);
    }
}

#[inline(always)]
fn add_end<D: FlowDirection>(
    interface: u32,
    segment: PackedSegment,
    port: WirePort,
    side: Side,
    size: WireSize,
) {
    let Some(slot) = slot_of(interface, port) else { return };
    let (protocol, direction, side) = (segment.protocol() as u64, D::INDEX as u64, side as u64);
    let traffic = traffic_offset(protocol, direction, side);
    let attempts = offset_of!(PortCounters, connection_attempts) as u64
        + (direction * Side::ALL.len() as u64 + side) * size_of::<u64>() as u64;
    // The masks are for the verifier, which forgets the bounds of what was in memory.
    let (traffic, attempts) = (masked::<0xf0>(traffic), masked::<0xf8>(attempts));
    // SAFETY: both are within the slot, a map value that only this CPU writes; userspace reads
    // single aligned words.
    unsafe {
        add_traffic(slot, traffic, size);
        if segment.is_connection_attempt() {
            add(slot.byte_add(attempts as usize).cast(), size.packets);
        }
    }
}

#[inline(always)]
fn add_accepted(interface: u32, port: WirePort, packets: u64) {
    let Some(slot) = slot_of(interface, port) else { return };
    // SAFETY: a map value of this type that only this CPU writes.
    unsafe { add(&raw mut (*slot).accepted, packets) };
}

/// Counts a UDP flow that a datagram of this host begins, for the watched port elsewhere.
#[inline(always)]
pub(crate) fn count_begun_flow<P: PacketProgram>(packet: P::View, segment: PackedSegment) {
    let is_from_here =
        matches!(segment.orientation().side_of_source(P::Direction::VALUE), Side::Local);
    let port = if is_from_here { segment.destination() } else { segment.source() };
    let Some(slot) = slot_of(packet.interface(), port) else { return };
    // SAFETY: a map value of this type that only this CPU writes.
    unsafe { add(&raw mut (*slot).begun_datagrams, 1) };
}

/// Counts a packet for its interface only.
#[inline(always)]
fn count_unclassified(interface: u32, cause: Unclassified, direction: Direction) {
    const ROW: u64 = size_of::<[u64; Unclassified::COUNT]>() as u64;
    let Some(slot) = slot(interface, 0) else { return };
    let offset = direction as u64 * ROW + cause as u64 * size_of::<u64>() as u64;
    let offset = masked::<0x78>(offset);
    const _: () = assert!(size_of::<[[u64; Unclassified::COUNT]; 2]>() <= 0x80);
    // SAFETY: slot 0 holds this record, has the same size, and only this CPU writes it; the offset
    // is that of a counter at its beginning.
    unsafe { add(slot.cast::<UnclassifiedCounters>().byte_add(offset as usize).cast(), 1) };
}
