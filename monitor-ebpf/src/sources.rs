//! Remote addresses on watched ports: a sketch of how many there are, and a table of the ones with
//! most packets.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use monitor_common::{
    limits::TALKER_WAYS,
    sampling::AddressWords,
    sources::{REGISTERS, Talker, TalkerSet, is_admitted, raised, register_of, talker_set},
};

use crate::{
    counter::add_both,
    maps::{SOURCES, TALKERS},
    packet_program::FlowDirection,
    packet_view::WireSize,
    slots::cpu,
};

/// Adds a remote address to the sketch of a port.
#[inline(always)]
pub(crate) fn record_source(sketch: u32, hash: u64) {
    const _: () = assert!(REGISTERS.is_power_of_two());
    // Not every port has a sketch.
    let Some(sketch) = SOURCES.get_ptr_mut(sketch) else { return };
    // SAFETY: the register is within the sketch. CPUs may overwrite each other's value, which
    // the estimate tolerates.
    unsafe {
        let register = sketch.cast::<u8>().add(register_of(hash));
        if let Some(value) = raised(register.read_volatile(), hash) {
            register.write_volatile(value);
        }
    }
}

/// Counts a packet for its remote address, if the address has a row in this CPU's table or gets one.
#[inline(always)]
pub(crate) fn record_talker<D: FlowDirection>(
    address: AddressWords,
    sum: u64,
    key: u32,
    window: u32,
    size: WireSize,
) {
    let Some(set) = rows(cpu(), sum, key) else { return };
    // SAFETY: rows that only this CPU writes; userspace reads single aligned words.
    let [one, other] = unsafe { &mut *set };
    if one.is(address, key) {
        return add_to_row::<D>(one, window, size);
    }
    if other.is(address, key) {
        return add_to_row::<D>(other, window, size);
    }
    let (price, price_of_other) = (one.price(window), other.price(window));
    let (price, row) = if price <= price_of_other { (price, one) } else { (price_of_other, other) };
    // SAFETY: the helper takes no arguments.
    if price > 0 && !is_admitted(unsafe { bpf_get_prandom_u32() } as u32, price) {
        return;
    }
    *row = Talker {
        address,
        packets: [0; 2],
        bytes: [0; 2],
        weight: price,
        key,
        first_window: window,
        last_window: window,
    };
    add_to_row::<D>(row, window, size);
}

/// The rows of a CPU in which an address may be; `sum` is what the flow keys make of it.
#[inline(always)]
pub(crate) fn rows(cpu: u32, sum: u64, key: u32) -> Option<*mut TalkerSet> {
    const _: () = assert!(TALKER_WAYS == 2);
    TALKERS.get_ptr_mut(talker_set(cpu, sum, key))
}

/// Counts a packet in a row.
#[inline(always)]
pub(crate) fn add_to_row<D: FlowDirection>(row: &mut Talker, window: u32, size: WireSize) {
    row.weigh(size.packets, window);
    let (packets, bytes) = (&raw mut row.packets[D::INDEX], &raw mut row.bytes[D::INDEX]);
    // SAFETY: aligned words of a row, which only this CPU writes.
    unsafe { add_both((packets, bytes), (size.packets, size.bytes)) };
}
