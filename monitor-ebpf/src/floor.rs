//! The floor of the packet path: the least that counting a packet can cost.
//!
//! It takes a UDP datagram over IPv4 for all there is, and does what no counter of ports can do
//! without: bounds, the headers, two bits of the set of ports, a slot of one array whose size is known
//! at load, two additions. With `OBSERVES` also a hash of both ends, a word of a table of flows, and a
//! row of a table of addresses. It is right about nothing else: neither sides, nor fragments of other
//! shapes, nor new flows.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::Array,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use monitor_common::ports::WirePort;

use crate::{
    maps::{Shared, index_of, watched_bit},
    slots::cpu,
};

const PORTS: u32 = 16;
const INTERFACES: u32 = 8;
const CPUS: u32 = 64;
const FLOWS: u32 = 4096;
const ROWS: u32 = 1024;

/// Packets and bytes by direction of the flow. One dimension: the kernel refuses the type information
/// of two.
type Slot = [u64; 4];

/// Address, key and window, packets, bytes.
type Row = [u64; 4];

#[btf_map]
static FLOOR_COUNTERS: Array<
    Slot,
    { (INTERFACES * PORTS * CPUS) as usize },
    { BPF_F_MMAPABLE as usize },
> = Array::new();

#[btf_map]
static FLOOR_FLOWS: Array<u64, { FLOWS as usize }> = Array::new();

#[btf_map]
static FLOOR_ROWS: Array<Row, { ROWS as usize }> = Array::new();

/// The place of each interface.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.floor_places")]
static PLACES: Shared<[u32; INTERFACES as usize]> = Shared::new([0; INTERFACES as usize]);

/// What the floor needs of a packet.
struct Packet {
    data: usize,
    data_end: usize,
    interface: u32,
}

/// Counts a datagram.
#[inline(always)]
fn count<const OBSERVES: bool>(packet: &Packet) {
    const HEADERS: usize = 14 + 20 + 8;
    let Packet { data, data_end, interface } = *packet;
    if data + HEADERS > data_end {
        return;
    }
    // SAFETY: all offsets are within the headers.
    let word = |offset: usize| unsafe { *((data + offset) as *const u16) };
    let [version, _] = word(14).to_ne_bytes();
    let [_, protocol] = word(22).to_ne_bytes();
    let fragment = word(20) & 0x3fff_u16.to_be();
    if word(12) != 0x0800_u16.to_be() || version != 0x45 || protocol != 17 || fragment != 0 {
        return;
    }
    let [source, destination] = [WirePort(word(34)), WirePort(word(36))];
    let (source_bit, destination_bit) = (watched_bit(source), watched_bit(destination));
    if (source_bit | destination_bit) & 1 == 0 {
        return;
    }
    let bytes = (data_end - data) as u64;
    if source_bit & 1 != 0 {
        add::<0>(interface, source, bytes);
    }
    if destination_bit & 1 != 0 {
        add::<1>(interface, destination, bytes);
    }
    if OBSERVES {
        let address = u64::from(word(26)) | u64::from(word(28)) << 16;
        let other = u64::from(word(30)) | u64::from(word(32)) << 16;
        observe(address, other, source, destination, bytes);
    }
}

#[inline(always)]
fn add<const DIRECTION: usize>(interface: u32, port: WirePort, bytes: u64) {
    let Some(index) = index_of(port) else { return };
    // SAFETY: the index is within the table.
    let place = unsafe {
        PLACES.get().cast::<u32>().add((interface % INTERFACES) as usize).read_volatile()
    };
    let place = place * PORTS + index % PORTS;
    let Some(slot) = FLOOR_COUNTERS.get_ptr_mut(place * CPUS + cpu() % CPUS) else { return };
    // SAFETY: a slot that only this CPU writes.
    let slot = unsafe { &mut *slot };
    slot[2 * DIRECTION] += 1;
    slot[2 * DIRECTION + 1] += bytes;
}

#[inline(always)]
fn observe(address: u64, other: u64, source: WirePort, destination: WirePort, bytes: u64) {
    const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
    const WINDOW: u64 = 2;
    let ports = u64::from(source.0) << 16 | u64::from(destination.0);
    let flow =
        address.wrapping_mul(KEYS[0]) ^ other.wrapping_mul(KEYS[1]) ^ ports.wrapping_mul(KEYS[0]);
    let flow = (flow ^ flow >> 29).wrapping_mul(KEYS[1]);
    let row = (address.wrapping_mul(KEYS[0]) >> 40) as u32 % (ROWS / 2) + cpu() % 2 * (ROWS / 2);
    let Some(word) = FLOOR_FLOWS.get_ptr_mut((flow >> 40) as u32 % FLOWS) else { return };
    let Some(row) = FLOOR_ROWS.get_ptr_mut(row % ROWS) else { return };
    // SAFETY: a word and a row of the maps; other CPUs write no row of this one.
    unsafe {
        let row = &mut *row;
        if row[0] == address {
            row[1] = WINDOW;
            row[2] += 1;
            row[3] += bytes;
        } else {
            *row = [address, WINDOW, 1, bytes];
        }
        if word.read_volatile() >> 32 != flow >> 32 {
            word.write_volatile(flow);
        }
    }
}

#[inline(always)]
fn of_xdp(context: &XdpContext) -> Packet {
    // SAFETY: the context is the one the kernel passed in.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    Packet { data: context.data(), data_end: context.data_end(), interface }
}

#[inline(always)]
fn of_tc(context: &TcContext) -> Packet {
    // SAFETY: the context is the one the kernel passed in.
    let interface = unsafe { (*context.skb.skb).ifindex };
    Packet { data: context.data(), data_end: context.data_end(), interface }
}

/// Counts.
#[xdp]
fn xdp_floor(context: XdpContext) -> u32 {
    count::<false>(&of_xdp(&context));
    aya_ebpf::bindings::xdp_action::XDP_PASS
}

/// Counts and observes.
#[xdp]
fn xdp_floor_observing(context: XdpContext) -> u32 {
    count::<true>(&of_xdp(&context));
    aya_ebpf::bindings::xdp_action::XDP_PASS
}

/// Counts.
#[classifier]
fn tc_floor(context: TcContext) -> i32 {
    count::<false>(&of_tc(&context));
    -1
}

/// Counts and observes.
#[classifier]
fn tc_floor_observing(context: TcContext) -> i32 {
    count::<true>(&of_tc(&context));
    -1
}
