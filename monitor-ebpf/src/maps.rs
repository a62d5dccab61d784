//! Every map of the kernel side, declared once.

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
    btf_maps::{Array, ArrayOfMaps, HashMap, HashOfMaps, LruHashMap, RingBuf},
    macros::btf_map,
};
use monitor_common::{
    errors::KernelError,
    flow::{PortCounters, UnclassifiedCounters},
    limits,
    ports::{PortIndex, PortSet},
    socket_event::{SocketCounters, SocketEvent},
};

use crate::socket_call::BindInFlight;

/// Inner maps may differ in size (`BPF_F_INNER_MAP`, Linux 5.10), and userspace reads them in
/// place.
const INNER_ARRAY: usize = (BPF_F_INNER_MAP | BPF_F_MMAPABLE) as usize;

/// Words of a slot, which is [`PortCounters`], or [`UnclassifiedCounters`] for port index 0.
///
/// An array rather than the struct: Linux 5.15 to 6.1 look for a timer in a struct that an inner
/// map's type information names, note that there is none, and then take a map whose values have no
/// type information, as those that userspace makes, for one of another kind.
type TrafficSlot = [u64; size_of::<PortCounters>() / size_of::<u64>()];

/// Words of [`SocketCounters`].
type SocketSlot = [u64; size_of::<SocketCounters>() / size_of::<u64>()];

/// Counters of one interface.
pub(crate) type InterfaceCounters = Array<TrafficSlot, 2, INNER_ARRAY>;

const _: () = assert!(size_of::<PortCounters>() == size_of::<UnclassifiedCounters>());

/// The watched ports.
#[btf_map]
pub(crate) static PORT_SET: Array<PortSet, 1> = Array::new();

/// Index of the counters of every port that is or was watched.
#[btf_map]
pub(crate) static PORT_INDEX: Array<PortIndex, 1> = Array::new();

/// Traffic counters by interface index; slots as in [`monitor_common::flow::slot_index`].
#[btf_map]
pub(crate) static COUNTERS: HashOfMaps<
    u32,
    InterfaceCounters,
    { limits::MAX_INTERFACES as usize },
> = HashOfMaps::new();

/// The same for interface indices that are small, which are nearly all: without a hash.
#[btf_map]
pub(crate) static NEAR_COUNTERS: ArrayOfMaps<
    InterfaceCounters,
    { limits::NEAR_INTERFACES as usize },
> = ArrayOfMaps::new();

/// Socket counters by port index, in one inner array so that it can grow.
#[btf_map]
pub(crate) static SOCKET_COUNTERS: ArrayOfMaps<Array<SocketSlot, 2, INNER_ARRAY>, 1> =
    ArrayOfMaps::new();

/// Socket calls on watched ports, on their way to userspace.
#[btf_map]
pub(crate) static EVENTS: RingBuf<SocketEvent, { limits::EVENT_RING_BYTES }> = RingBuf::new();

/// Failures by [`KernelError`], shared by all CPUs and added to atomically.
#[btf_map]
pub(crate) static ERRORS: Array<u64, { KernelError::COUNT }> = Array::new();

/// Binds between their entry and their return, by thread.
#[btf_map]
pub(crate) static BINDS_IN_FLIGHT: HashMap<
    u64,
    BindInFlight,
    { limits::MAX_BINDS_IN_FLIGHT as usize },
> = HashMap::new();

/// Sockets that were bound to a watched port of the kernel's choice, by the address of their `struct
/// sock`, and that port: nothing in the socket tells it from one that was never bound.
#[btf_map]
pub(crate) static AUTOMATIC_BINDS: LruHashMap<u64, u16, { limits::MAX_AUTOMATIC_BINDS as usize }> =
    LruHashMap::new();

/// Counts a failure.
#[inline(always)]
pub(crate) fn count_error(cause: KernelError) {
    if let Some(counter) = ERRORS.get_ptr_mut(cause as u32) {
        add_atomic(counter, 1);
    }
}

/// Adds to a counter that several CPUs share.
///
/// The one instruction that the BPF target has for it (`BPF_ATOMIC | BPF_ADD`, any kernel); core
/// offers its atomics only where compare-and-swap exists.
#[inline(always)]
pub(crate) fn add_atomic(counter: *mut u64, amount: u64) {
    // SAFETY: the pointer is to a map value, aligned to eight bytes and valid while the program
    // runs; every access by another program is atomic as well.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
            options(nostack),
        );
    }
}

/// Whether each of two ports is watched, by one look at the set.
#[inline(always)]
pub(crate) fn are_watched(first: u16, second: u16) -> (bool, bool) {
    match PORT_SET.get(0) {
        Some(ports) => (ports.contains(first), ports.contains(second)),
        None => (false, false),
    }
}

/// Whether `port` is watched.
#[inline(always)]
pub(crate) fn is_watched(port: u16) -> bool {
    PORT_SET.get(0).is_some_and(|ports| ports.contains(port))
}

/// Index of the counters of a watched port.
#[inline(always)]
pub(crate) fn index_of(port: u16) -> Option<u32> {
    let indices = PORT_INDEX.get(0)?;
    indices.get(bounded(port)).map(u32::from)
}

/// Makes the compiler say here and now that a port has sixteen bits. It knows so, and says nothing
/// more; the verifier before Linux 6.4 forgets it of a value that was on the stack meanwhile.
#[inline(always)]
fn bounded(port: u16) -> u16 {
    let mut value = u64::from(port);
    // SAFETY: no instruction at all; only what the compiler knows of the value is lost.
    unsafe {
        core::arch::asm!("/* {value} */", value = inout(reg) value, options(nomem, nostack));
    }
    value as u16
}
