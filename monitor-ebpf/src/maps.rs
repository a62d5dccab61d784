//! Every map of the kernel side, declared once.

use core::cell::UnsafeCell;

use aya_ebpf::{
    bindings::{
        BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST, BPF_RB_AVAIL_DATA,
        BPF_RB_FORCE_WAKEUP,
    },
    btf_maps::{Array, ArrayOfMaps, HashMap, HashOfMaps, LpmTrie, LruHashMap, RingBuf},
    helpers::generated::bpf_ringbuf_query,
    macros::btf_map,
};
use monitor_common::{
    addresses::{Addresses, PrefixData},
    call_share::Shares,
    call_sum::{CallSum, SumKey},
    capture_notice::NoticeWindow,
    errors::KernelError,
    flat::FlatPlaces,
    flow::{PortCounters, UnclassifiedCounters},
    limits,
    listeners::ListenerPorts,
    outbound::OutboundKey,
    ports::{PortIndex, PortSet, WirePort},
    rare::{RareCounters, RareKey, RareSocketCounters},
    sample::{Sample, SkipCause},
    sampling::SamplingControl,
    selftest::SelftestMark,
    socket_event::{SocketCounters, SocketEvent},
    sources::{Sketch, TalkerSet},
};

use crate::{
    bounds::masked,
    remote_flow::RemoteFlow,
    sockaddr::{BindInFlight, NamedBind},
};

/// Inner maps may differ in size (`BPF_F_INNER_MAP`, Linux 5.10), and userspace reads them in
/// place.
const INNER_ARRAY: usize = (BPF_F_INNER_MAP | BPF_F_MMAPABLE) as usize;

/// Elements take memory when they are added: most of these maps stay empty. Not for programs that
/// trace, of which the kernel wants preallocated maps.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

/// Words of a slot, which is [`PortCounters`], or [`UnclassifiedCounters`] for port index 0.
///
/// An array rather than the struct: Linux 5.15 to 6.1 search a struct in an inner map's BTF for a
/// timer, record its absence, and then reject as incompatible an inner map without BTF, which is
/// what userspace creates.
type TrafficSlot = [u64; size_of::<PortCounters>() / size_of::<u64>()];

/// Words of [`SocketCounters`].
type SocketSlot = [u64; size_of::<SocketCounters>() / size_of::<u64>()];

/// Counters of one interface.
pub(crate) type InterfaceCounters = Array<TrafficSlot, 2, INNER_ARRAY>;

const _: () = assert!(size_of::<PortCounters>() == size_of::<UnclassifiedCounters>());

/// A value that userspace writes while programs read it.
///
/// A section of the object becomes a map of one value at an address that the programs know: reading
/// it takes neither a lookup nor a null check.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

impl<T> Shared<T> {
    /// Holds a value.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The address of the value.
    #[inline(always)]
    pub(crate) const fn get(&self) -> *const T {
        self.0.get()
    }
}

// SAFETY: a word is read, written or added to whole.
unsafe impl<T> Sync for Shared<T> {}

/// The watched ports.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.port_set")]
static PORT_SET: Shared<PortSet> = Shared::new(PortSet::EMPTY);

/// The ports whose listeners are reported.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.listener_ports")]
static LISTENER_PORTS: Shared<ListenerPorts> = Shared::new(ListenerPorts::NONE);

/// Index of the counters of every port that is watched or has been.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.port_index")]
static PORT_INDEX: Shared<PortIndex> = Shared::new(PortIndex::EMPTY);

/// The addresses of this host.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.addresses")]
pub(crate) static ADDRESSES: Shared<Addresses> = Shared::new(Addresses::UNKNOWN);

/// The mark of a selftest.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.selftest")]
pub(crate) static SELFTEST: Shared<SelftestMark> = Shared::new(SelftestMark::NONE);

/// The interfaces that have a place in [`FLAT_COUNTERS`].
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.flat_places")]
pub(crate) static FLAT_PLACES: Shared<FlatPlaces> = Shared::new(FlatPlaces::EMPTY);

/// Traffic counters of many interfaces, see [`monitor_common::flat`]; sized at load, so that the
/// verifier replaces a lookup by a few instructions.
#[btf_map]
pub(crate) static FLAT_COUNTERS: Array<TrafficSlot, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Networks that are local as a whole, and addresses for which [`ADDRESSES`] has no place.
#[btf_map]
pub(crate) static LOCAL_PREFIXES: LpmTrie<
    PrefixData,
    u32,
    { limits::MAX_LOCAL_PREFIXES as usize },
> = LpmTrie::new();

/// Flows to watched ports elsewhere: when the last packet was seen that told of one, `CLOCK_BOOTTIME`
/// nanoseconds, and in bit 0 whether this host began it.
#[btf_map]
pub(crate) static REMOTE_FLOWS: LruHashMap<RemoteFlow, u64, { limits::REMOTE_FLOWS as usize }> =
    LruHashMap::new();

/// Traffic counters by interface index; slots as in [`monitor_common::flow::slot_index`].
#[btf_map]
pub(crate) static COUNTERS: HashOfMaps<
    u32,
    InterfaceCounters,
    { limits::MAX_INTERFACES as usize },
    ON_DEMAND,
> = HashOfMaps::new();

/// The same for small interface indices, which are nearly all: an indexed load instead of a hash.
#[btf_map]
pub(crate) static NEAR_COUNTERS: ArrayOfMaps<
    InterfaceCounters,
    { limits::NEAR_INTERFACES as usize },
> = ArrayOfMaps::new();

/// Socket counters by port index, in one inner array so that it can grow.
#[btf_map]
pub(crate) static SOCKET_COUNTERS: ArrayOfMaps<Array<SocketSlot, 2, INNER_ARRAY>, 1> =
    ArrayOfMaps::new();

/// Traffic counters of UDP-Lite and SCTP, which all CPUs share. They take memory when they are created:
/// nearly all hosts have none.
#[btf_map]
pub(crate) static RARE_TRAFFIC: HashMap<
    RareKey,
    RareCounters,
    { limits::RARE_TRAFFIC as usize },
    ON_DEMAND,
> = HashMap::new();

/// Counters of socket calls of UDP-Lite and SCTP.
#[btf_map]
pub(crate) static RARE_SOCKETS: HashMap<
    RareKey,
    RareSocketCounters,
    { limits::RARE_SOCKETS as usize },
> = HashMap::new();

/// Socket calls on watched ports, for userspace.
#[btf_map]
pub(crate) static EVENTS: RingBuf<SocketEvent, { limits::EVENT_RING_BYTES }> = RingBuf::new();

/// What is left of the shares of [`EVENTS`]. Full at the start of each object: it is not pinned.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.shares")]
pub(crate) static SHARES: Shared<Shares> = Shared::new(Shares::FULL);

/// The same of records for the sake of listeners alone, which take nothing from the others.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.listener_shares")]
pub(crate) static LISTENER_SHARES: Shared<Shares> = Shared::new(Shares::FULL);

/// Socket calls beyond the shares of [`EVENTS`], by process.
#[btf_map]
pub(crate) static CALL_SUMS: HashMap<SumKey, CallSum, { limits::CALL_SUMS as usize }> =
    HashMap::new();

/// Those that found no room in [`CALL_SUMS`], by user.
#[btf_map]
pub(crate) static USER_CALL_SUMS: HashMap<SumKey, CallSum, { limits::USER_CALL_SUMS as usize }> =
    HashMap::new();

/// Bounds the notices of captures; one value.
#[btf_map]
pub(crate) static NOTICES: Array<NoticeWindow, 1> = Array::new();

/// When a process last sent to a watched port of another host, `CLOCK_BOOTTIME` nanoseconds.
#[btf_map]
pub(crate) static OUTBOUND: LruHashMap<OutboundKey, u64, { limits::OUTBOUND as usize }> =
    LruHashMap::new();

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

/// The `struct sock` of a listen between its beginning and its return, by thread; 0 before the socket has
/// entered the state, and after the kernel has refused the call.
#[btf_map]
pub(crate) static LISTENS_IN_FLIGHT: HashMap<u64, u64, { limits::MAX_LISTENS_IN_FLIGHT as usize }> =
    HashMap::new();

/// The binds of sockets for datagrams to a port by its number, in the set of listeners, that threads are
/// about to make. One that is refused stays until the thread's next one.
#[btf_map]
pub(crate) static NAMED_BINDS: LruHashMap<u64, NamedBind, { limits::MAX_NAMED_BINDS as usize }> =
    LruHashMap::new();

/// Port of each socket that was bound to a watched port of the kernel's choice, by the address of its
/// `struct sock`: nothing in the socket distinguishes it from one that was never bound.
#[btf_map]
pub(crate) static AUTOMATIC_BINDS: LruHashMap<u64, u16, { limits::MAX_AUTOMATIC_BINDS as usize }> =
    LruHashMap::new();

/// Userspace's settings of sampling and of sources.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.sampling")]
pub(crate) static SAMPLING: Shared<SamplingControl> = Shared::new(SamplingControl::NOTHING);

/// Flows whose first payload is expected (TCP) or was seen (UDP): see
/// [`monitor_common::sampling`].
#[btf_map]
pub(crate) static CONVERSATIONS: Array<u64, { limits::CONVERSATIONS as usize }> = Array::new();

/// Number of samples of a remote address.
#[btf_map]
pub(crate) static RECENT_SOURCES: Array<u64, { limits::RECENT_SOURCES as usize }> = Array::new();

/// First payloads and connection attempts, for userspace.
#[btf_map]
pub(crate) static SAMPLES: RingBuf<Sample, { limits::SAMPLE_RING_BYTES }> = RingBuf::new();

/// Samples that were not taken, by CPU and [`SkipCause`]; sized at load.
#[btf_map]
pub(crate) static SKIPPED_SAMPLES: Array<[u64; SkipCause::COUNT], 1> = Array::new();

/// Sketches of remote addresses, at [`monitor_common::sources::sketch_index`]; sized at load.
#[btf_map]
pub(crate) static SOURCES: Array<Sketch, 1> = Array::new();

/// The remote addresses with most packets, at [`monitor_common::sources::talker_set`]; sized at
/// load.
#[btf_map]
pub(crate) static TALKERS: Array<TalkerSet, 1> = Array::new();

/// Flags for submitting a record of `len` bytes.
///
/// The kernel wakes userspace for a record only if userspace has read all records before it.
/// Userspace pauses between two reads, so that a process that calls in a loop does not pay for a
/// wakeup each time. A wakeup is forced for every quarter of the ring that fills.
#[inline(always)]
pub(crate) fn wakeup<T, const BYTES: usize>(ring: &RingBuf<T, BYTES>, len: usize) -> u64 {
    /// `BPF_RINGBUF_HDR_SZ`, `include/uapi/linux/bpf.h`.
    const HEADER_LEN: usize = 8;
    let quarter = BYTES as u64 / 4;
    let taken = (len + HEADER_LEN).next_multiple_of(8) as u64;
    let map = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: a map of this type. The unread bytes include this record.
    let unread = unsafe { bpf_ringbuf_query(map, BPF_RB_AVAIL_DATA.into()) };
    let crosses_quarter = unread >= quarter && unread % quarter < taken;
    if crosses_quarter { BPF_RB_FORCE_WAKEUP.into() } else { 0 }
}

/// Whether userspace has not read three quarters of the ring yet.
#[inline(always)]
pub(crate) fn is_nearly_full<T, const BYTES: usize>(ring: &RingBuf<T, BYTES>) -> bool {
    let map = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: a map of this type.
    let unread = unsafe { bpf_ringbuf_query(map, BPF_RB_AVAIL_DATA.into()) };
    unread >= BYTES as u64 / 4 * 3
}

/// Counts a failure.
#[inline(always)]
pub(crate) fn count_error(cause: KernelError) {
    if let Some(counter) = ERRORS.get_ptr_mut(cause as u32) {
        add_atomic(counter, 1);
    }
}

/// The value of a key, which is `zero` at first; `None` if there is no room.
#[inline(always)]
pub(crate) fn entry<K, V, const CAPACITY: usize, const FLAGS: usize>(
    map: &HashMap<K, V, CAPACITY, FLAGS>,
    key: &K,
    zero: V,
) -> Option<*mut V> {
    if let Some(value) = map.get_ptr_mut(key) {
        return Some(value);
    }
    // Another CPU may create it at the same time: then this one fails and finds that.
    let _ = map.insert(key, zero, BPF_NOEXIST.into());
    map.get_ptr_mut(key)
}

/// Adds to a counter that several CPUs share.
///
/// By the instruction `BPF_ATOMIC | BPF_ADD`, which every kernel has; core offers atomics only on
/// targets with compare-and-swap.
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

/// Whether `port` is watched.
#[inline(always)]
pub(crate) fn is_watched(port: WirePort) -> bool {
    bit_of_swapped(PORT_SET.get(), port) & 1 != 0
}

/// Bit 0 is 1 if `port` is watched; the other bits belong to other ports.
#[inline(always)]
pub(crate) fn watched_bit(port: WirePort) -> u64 {
    bit_of(PORT_SET.get(), port)
}

/// Whether listeners on `port` are reported.
#[inline(always)]
pub(crate) fn has_listeners(port: WirePort) -> bool {
    // SAFETY: only an address is taken.
    let set = unsafe { &raw const (*LISTENER_PORTS.get()).set };
    bit_of_swapped(set, port) & 1 != 0
}

/// Whether no program but the one at the return of the system call sees a bind.
#[inline(always)]
pub(crate) fn binds_are_seen_at_return() -> bool {
    // SAFETY: a word of the section, which userspace writes whole.
    unsafe { (&raw const (*LISTENER_PORTS.get()).binds_are_seen_at_return).read_volatile() != 0 }
}

/// Bit 0 is the one of `port` in a set; the others belong to other ports.
#[inline(always)]
fn bit_of(set: *const PortSet, port: WirePort) -> u64 {
    let (word, bit) = PortSet::position(port);
    // SAFETY: the set consists of such words, and no position is outside.
    let word = unsafe { set.cast::<u64>().add(word).read_volatile() };
    word >> bit
}

/// [`bit_of`] for a port whose bytes were swapped: the verifier knows no bounds of what the instruction
/// for that yields, and the compiler does.
#[inline(always)]
fn bit_of_swapped(set: *const PortSet, port: WirePort) -> u64 {
    const LAST_WORD: u32 = u16::MAX as u32 >> 6;
    let (word, bit) = PortSet::position(port);
    let word = masked::<LAST_WORD>(word as u64) as usize;
    // SAFETY: as in `bit_of`.
    let word = unsafe { set.cast::<u64>().add(word).read_volatile() };
    word >> bit
}

/// Index of the counters of a watched port.
#[inline(always)]
pub(crate) fn index_of(port: WirePort) -> Option<u32> {
    let indices = PORT_INDEX.0.get().cast::<u16>();
    // The mask also separates this load from the check of the set: if two source lines shared an
    // instruction, the kernel would reject the object's line information.
    let place = masked::<{ u16::MAX as u32 }>(port.0.into());
    // SAFETY: there is an index for every port.
    match unsafe { indices.add(place as usize).read_volatile() } {
        0 => None,
        index => Some(index.into()),
    }
}
