//! What all traffic hooks do with a packet: parse it, test its ports, add to counters.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use monitor_common::{
    errors::KernelError,
    flow::{Direction, PortCounters, Side, UnclassifiedCounters, slot_index},
    packet::{Parsed, Segment, Unclassified},
};

use crate::{
    maps::{COUNTERS, InterfaceCounters, NEAR_COUNTERS, are_watched, count_error, index_of},
    packet_view::{PacketView, WireSize},
};

/// CPUs that an interface's array has slots for; userspace sets it before load.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;

/// Counts a parsed packet where it belongs.
#[inline(always)]
pub(crate) fn count<P: PacketView>(packet: &P, parsed: Parsed, direction: Direction) {
    if let Some(segment) = parsed.segment() {
        count_segment(packet, segment, direction);
    } else if let Some(cause) = parsed.unclassified() {
        count_unclassified(packet, cause, direction);
    }
}

/// Both ends may be watched: each is a series of its own.
#[inline(always)]
fn count_segment<P: PacketView>(packet: &P, segment: &Segment, direction: Direction) {
    let (source, destination) = are_watched(segment.source, segment.destination);
    if !source & !destination {
        return;
    }
    let Some(counters) = interface_counters(packet) else {
        return;
    };
    let size = packet.wire_size(segment.headers_len);
    if source {
        let side = direction.side_of_source();
        count_port(counters, segment.source, segment, direction, side, size);
    }
    if destination {
        let side = direction.side_of_destination();
        count_port(counters, segment.destination, segment, direction, side, size);
    }
}

#[inline(always)]
fn count_port(
    counters: &InterfaceCounters,
    port: u16,
    segment: &Segment,
    direction: Direction,
    side: Side,
    size: WireSize,
) {
    let slot = index_of(port).and_then(|index| slot(counters, index));
    let Some(slot) = slot else {
        return count_error(KernelError::SlotMissing);
    };
    // SAFETY: the slot is a map value of this type that only this CPU writes; userspace reads
    // single aligned words.
    let slot = unsafe { &mut *slot };
    let traffic = &mut slot.traffic[segment.protocol as usize][direction as usize][side as usize];
    traffic.packets += size.packets;
    traffic.bytes += size.bytes;
    if segment.connection_attempt {
        slot.connection_attempts[direction as usize][side as usize] += size.packets;
    }
}

#[inline(always)]
fn count_unclassified<P: PacketView>(packet: &P, cause: Unclassified, direction: Direction) {
    let slot = interface_counters(packet).and_then(|counters| slot(counters, 0));
    let Some(slot) = slot else {
        return;
    };
    // SAFETY: slot 0 is of this type, has the same size, and only this CPU writes it.
    let slot = unsafe { &mut *slot.cast::<UnclassifiedCounters>() };
    slot.packets[direction as usize][cause as usize] += 1;
}

#[inline(always)]
fn interface_counters<P: PacketView>(packet: &P) -> Option<&'static InterfaceCounters> {
    let interface = packet.interface();
    let near = NEAR_COUNTERS.get(interface);
    // SAFETY: an inner map lives until the programs that may use it have ended.
    let counters = near.or_else(|| unsafe { COUNTERS.get(&interface) });
    if counters.is_none() {
        count_error(KernelError::InterfaceMissing);
    }
    counters
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
