//! Counting: parse a packet, test two bits, and on a hit add to this CPU's slot.
//!
//! Nearly all packets are plain and on unwatched ports. A program recognizes them inline, in few
//! enough instructions to need neither a stack nor a saved register; everything else is a call. The
//! calls pass a packet's facts in one register: the stack is limited to eight frames and 512 bytes,
//! and the verifier tracks every value on it.

use core::mem::offset_of;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use monitor_common::{
    errors::KernelError,
    flow::{Direction, PortCounters, Side, Traffic, UnclassifiedCounters, slot_index},
    packet::{PackedSegment, Segment, Unclassified},
    ports::WirePort,
};

use crate::{
    bounds::masked,
    maps::{COUNTERS, InterfaceCounters, NEAR_COUNTERS, count_error, index_of, watched_bit},
    packet_program::{FlowDirection, PacketProgram},
    packet_view::{PacketView as _, WireSize},
};

/// Number of possible CPUs; userspace sets it before load.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;

/// Counts a packet.
#[inline(always)]
pub(crate) fn count<P: PacketProgram>(packet: P::View) {
    let segment = match packet.plain() {
        Some(segment) => watched(&segment),
        None if packet.is_not_ip() => return,
        None => P::classify(packet),
    };
    if segment != PackedSegment::NONE {
        P::handle(packet, segment);
    }
}

/// The segment, if one of its ports is watched.
#[inline(always)]
fn watched(segment: &Segment) -> PackedSegment {
    let source = watched_bit(segment.source);
    let destination = watched_bit(segment.destination);
    // One branch for nearly all packets.
    if (source | destination) & 1 == 0 {
        return PackedSegment::NONE;
    }
    PackedSegment::of(segment, source, destination)
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

/// Counts a segment for each of its ends that is on a watched port: each is a series of its own.
#[inline(always)]
pub(crate) fn count_segment<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
    size: WireSize,
) {
    let interface = packet.interface();
    match NEAR_COUNTERS.get(interface) {
        Some(counters) => add::<P::Direction>(counters, segment, size),
        None => add_far::<P::Direction>(interface, segment, size.packets, size.bytes),
    }
}

/// Adds to the counters of an interface whose index is not below
/// [`NEAR_INTERFACES`](monitor_common::limits::NEAR_INTERFACES).
///
/// Never inlined: for a lookup in an array of either kind of outer map the verifier emits an indirect
/// call, which costs more than everything else.
#[inline(never)]
fn add_far<D: FlowDirection>(interface: u32, segment: PackedSegment, packets: u64, bytes: u64) {
    let size = WireSize { packets, bytes };
    // SAFETY: an inner map lives until the programs that may use it have ended.
    match unsafe { COUNTERS.get(&interface) } {
        Some(counters) => add::<D>(counters, segment, size),
        None => count_error(KernelError::InterfaceMissing),
    }
}

#[inline(always)]
fn add<D: FlowDirection>(counters: &InterfaceCounters, segment: PackedSegment, size: WireSize) {
    let (orientation, direction) = (segment.orientation(), D::VALUE);
    if segment.source_is_watched() {
        let side = orientation.side_of_source(direction);
        add_end::<D>(counters, segment, segment.source(), side, size);
        if matches!(direction, Direction::Egress)
            && matches!(side, Side::Local)
            && segment.is_connection_answer()
        {
            add_accepted(counters, segment.source(), size.packets);
        }
    }
    if segment.destination_is_watched() {
        let side = orientation.side_of_destination(direction);
        add_end::<D>(counters, segment, segment.destination(), side, size);
    }
}

#[inline(always)]
fn add_end<D: FlowDirection>(
    counters: &InterfaceCounters,
    segment: PackedSegment,
    port: WirePort,
    side: Side,
    size: WireSize,
) {
    const ROW: u64 = size_of::<[Traffic; Side::ALL.len()]>() as u64;
    const PROTOCOL: u64 = Direction::ALL.len() as u64 * ROW;
    let Some(slot) = slot_of(counters, port) else { return };
    let (protocol, direction, side) = (segment.protocol() as u64, D::INDEX as u64, side as u64);
    let traffic = protocol * PROTOCOL + direction * ROW + side * size_of::<Traffic>() as u64;
    let attempts = offset_of!(PortCounters, connection_attempts) as u64
        + (direction * Side::ALL.len() as u64 + side) * size_of::<u64>() as u64;
    // The masks are for the verifier, which forgets the bounds of what was in memory.
    let (traffic, attempts) = (masked::<0xf0>(traffic), masked::<0xf8>(attempts));
    // SAFETY: both are within the slot, a map value that only this CPU writes; userspace reads
    // single aligned words.
    unsafe {
        let traffic = slot.byte_add(traffic as usize).cast::<Traffic>();
        (*traffic).packets += size.packets;
        (*traffic).bytes += size.bytes;
        if segment.is_connection_attempt() {
            *slot.byte_add(attempts as usize).cast::<u64>() += size.packets;
        }
    }
}

#[inline(always)]
fn add_accepted(counters: &InterfaceCounters, port: WirePort, packets: u64) {
    let Some(slot) = slot_of(counters, port) else { return };
    // SAFETY: a map value of this type that only this CPU writes.
    unsafe { (*slot).accepted += packets };
}

/// Counts a UDP flow that a datagram of this host begins, for the watched port elsewhere.
#[inline(always)]
pub(crate) fn count_begun_flow<P: PacketProgram>(packet: P::View, segment: PackedSegment) {
    let is_from_here =
        matches!(segment.orientation().side_of_source(P::Direction::VALUE), Side::Local);
    let port = if is_from_here { segment.destination() } else { segment.source() };
    let interface = packet.interface();
    match NEAR_COUNTERS.get(interface) {
        Some(counters) => add_begun_flow(counters, port),
        // SAFETY: an inner map lives until the programs that may use it have ended.
        None => match unsafe { COUNTERS.get(&interface) } {
            Some(counters) => add_begun_flow(counters, port),
            None => count_error(KernelError::InterfaceMissing),
        },
    }
}

#[inline(always)]
fn add_begun_flow(counters: &InterfaceCounters, port: WirePort) {
    let Some(slot) = slot_of(counters, port) else { return };
    // SAFETY: a map value of this type that only this CPU writes.
    unsafe { (*slot).begun_datagrams += 1 };
}

/// This CPU's slot for a watched port. One that is missing is counted.
#[inline(always)]
fn slot_of(counters: &InterfaceCounters, port: WirePort) -> Option<*mut PortCounters> {
    let slot = index_of(port).and_then(|index| slot(counters, index));
    if slot.is_none() {
        count_error(KernelError::SlotMissing);
    }
    slot
}

/// Counts a packet for its interface only.
#[inline(always)]
fn count_unclassified(interface: u32, cause: Unclassified, direction: Direction) {
    match NEAR_COUNTERS.get(interface) {
        Some(counters) => add_unclassified(counters, cause as u32, direction as u32),
        None => add_unclassified_far(interface, cause as u32, direction as u32),
    }
}

/// See [`add_far`].
#[inline(never)]
fn add_unclassified_far(interface: u32, cause: u32, direction: u32) {
    // SAFETY: an inner map lives until the programs that may use it have ended.
    match unsafe { COUNTERS.get(&interface) } {
        Some(counters) => add_unclassified(counters, cause, direction),
        None => count_error(KernelError::InterfaceMissing),
    }
}

#[inline(always)]
fn add_unclassified(counters: &InterfaceCounters, cause: u32, direction: u32) {
    let Some(slot) = slot(counters, 0) else {
        return count_error(KernelError::SlotMissing);
    };
    // SAFETY: slot 0 is of this type, has the same size, and only this CPU writes it.
    let slot = unsafe { &mut *slot.cast::<UnclassifiedCounters>() };
    let by_cause = slot.packets.get_mut(direction as usize);
    if let Some(count) = by_cause.and_then(|causes| causes.get_mut(cause as usize)) {
        *count += 1;
    }
}

/// This CPU's slot for a port index.
#[inline(always)]
fn slot(counters: &InterfaceCounters, port_index: u32) -> Option<*mut PortCounters> {
    // SAFETY: CPUS is read-only memory of the object.
    let cpus = unsafe { (&raw const CPUS).read_volatile() };
    // SAFETY: the helper takes no arguments. A program stays on its CPU while it runs.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    counters.get_ptr_mut(slot_index(port_index, cpu, cpus)).map(<*mut _>::cast)
}
