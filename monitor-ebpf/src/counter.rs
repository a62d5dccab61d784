//! Additions to counters that the programs of one CPU share.
//!
//! Every traffic hook runs with bottom halves disabled: XDP in the driver's poll or in
//! `netif_receive_skb`, TC ingress behind the latter, TC egress in `__dev_queue_xmit`. Elsewhere
//! that means that nothing on this CPU runs another traffic program in between, whatever the
//! preemption model: it raises the preemption count, and lazy preemption respects it as well. So a
//! load, an addition and a store lose nothing.
//!
//! On `PREEMPT_RT` such a section can be preempted, and since Linux 6.18 another task may enter one
//! on the same CPU meanwhile (`__local_bh_disable_ip` of `kernel/softirq.c` takes the lock of its
//! CPU only with `CONFIG_PREEMPT_RT_NEEDS_BH_LOCK`). There the addition is one instruction.

use core::hint::cold_path;

use monitor_common::flow::{Direction, PortCounters, Side, Traffic};

use crate::{maps::add_atomic, packet_view::WireSize};

/// Whether the kernel is `PREEMPT_RT`; userspace sets it before load, and the verifier removes the
/// branch.
#[unsafe(no_mangle)]
static PREEMPTIBLE: u8 = 0;

/// Adds to a counter that only programs on this CPU write.
///
/// # Safety
///
/// The counter is an aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, amount: u64) {
    // SAFETY: read-only memory of the object.
    if unsafe { (&raw const PREEMPTIBLE).read_volatile() } != 0 {
        cold_path();
        add_atomic(counter, amount);
    } else {
        // SAFETY: as the caller says.
        unsafe { *counter += amount };
    }
}

/// [`add`] to two counters.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn add_both(counters: (*mut u64, *mut u64), amounts: (u64, u64)) {
    // SAFETY: read-only memory of the object.
    if unsafe { (&raw const PREEMPTIBLE).read_volatile() } != 0 {
        cold_path();
        add_atomic(counters.0, amounts.0);
        add_atomic(counters.1, amounts.1);
    } else {
        // SAFETY: as the caller says.
        unsafe {
            *counters.0 += amounts.0;
            *counters.1 += amounts.1;
        }
    }
}

/// Offset of a [`Traffic`] in a slot, by the indices of protocol, direction and side.
#[inline(always)]
pub(crate) const fn traffic_offset(protocol: u64, direction: u64, side: u64) -> u64 {
    const ROW: u64 = size_of::<[Traffic; Side::ALL.len()]>() as u64;
    const PROTOCOL: u64 = Direction::ALL.len() as u64 * ROW;
    protocol * PROTOCOL + direction * ROW + side * size_of::<Traffic>() as u64
}

/// Adds to the packets and bytes at an offset in a slot.
///
/// # Safety
///
/// A [`Traffic`] is at the offset.
#[inline(always)]
pub(crate) unsafe fn add_traffic(slot: *mut PortCounters, offset: u64, size: WireSize) {
    // SAFETY: as the caller says; only this CPU writes the slot.
    unsafe {
        let traffic = slot.byte_add(offset as usize).cast::<Traffic>();
        let counters = (&raw mut (*traffic).packets, &raw mut (*traffic).bytes);
        add_both(counters, (size.packets, size.bytes));
    }
}
