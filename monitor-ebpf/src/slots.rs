//! Where a port is counted on an interface: in the flat array, or in the interface's own.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use monitor_common::{
    errors::KernelError,
    flat::FlatPlaces,
    flow::{PortCounters, slot_index},
    limits::NEAR_INTERFACES,
    ports::WirePort,
};

use crate::maps::{
    COUNTERS, FLAT_COUNTERS, FLAT_PLACES, InterfaceCounters, NEAR_COUNTERS, count_error, index_of,
};

/// Number of possible CPUs; userspace sets it before load.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;

/// This CPU's slot for a watched port. One that is missing is counted.
#[inline(always)]
pub(crate) fn slot_of(interface: u32, port: WirePort) -> Option<*mut PortCounters> {
    let Some(index) = index_of(port) else {
        count_error(KernelError::SlotMissing);
        return None;
    };
    slot(interface, index)
}

/// This CPU's slot for a port index. One that is missing is counted.
#[inline(always)]
pub(crate) fn slot(interface: u32, index: u32) -> Option<*mut PortCounters> {
    if let Some(slot) = flat_slot(interface, index, cpu()) {
        return Some(slot);
    }
    match NEAR_COUNTERS.get(interface) {
        Some(counters) => own_slot(counters, index),
        None => {
            let slot = far_slot(interface, index);
            (!slot.is_null()).then_some(slot)
        }
    }
}

/// The slot on an interface whose index is not below [`NEAR_INTERFACES`], or null.
///
/// Never inlined: for a lookup in an array of either kind of outer map the verifier emits an indirect
/// call, which costs more than everything else.
#[inline(never)]
fn far_slot(interface: u32, index: u32) -> *mut PortCounters {
    // SAFETY: an inner map lives until the programs that may use it have ended.
    match unsafe { COUNTERS.get(&interface) } {
        Some(counters) => own_slot(counters, index).unwrap_or(core::ptr::null_mut()),
        None => {
            count_error(KernelError::InterfaceMissing);
            core::ptr::null_mut()
        }
    }
}

/// This CPU's slot in the flat array, if the interface has a place there and the port is not beyond
/// the array.
#[inline(always)]
pub(crate) fn flat_slot(interface: u32, index: u32, cpu: u32) -> Option<*mut PortCounters> {
    if interface >= NEAR_INTERFACES {
        return None;
    }
    let places = FLAT_PLACES.get();
    // SAFETY: words of the section; userspace writes them whole, and the index is within.
    let (stride, base) = unsafe {
        let bases = (&raw const (*places).bases).cast::<u32>();
        (
            (&raw const (*places).stride).read_volatile(),
            bases.add(interface as usize).read_volatile(),
        )
    };
    let slot = FlatPlaces::slot_index(stride, base, index, cpu);
    FLAT_COUNTERS.get_ptr_mut(slot).map(<*mut _>::cast)
}

/// This CPU's slot in the array of an interface.
#[inline(always)]
fn own_slot(counters: &InterfaceCounters, index: u32) -> Option<*mut PortCounters> {
    // SAFETY: CPUS is read-only memory of the object.
    let cpus = unsafe { (&raw const CPUS).read_volatile() };
    let slot = counters.get_ptr_mut(slot_index(index, cpu(), cpus));
    if slot.is_none() {
        count_error(KernelError::SlotMissing);
    }
    slot.map(<*mut _>::cast)
}

/// The CPU that the program runs on, which it does not leave.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_smp_processor_id() }
}
