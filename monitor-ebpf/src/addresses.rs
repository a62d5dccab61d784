//! The addresses of this host: which end of a packet is its own.

use aya_ebpf::btf_maps::lpm_trie::Key;
use monitor_common::{
    addresses::{AddressControl, AddressKey, Addresses, PrefixData, whole_prefix},
    flow::{Direction, Orientation},
    packet::PackedSegment,
};

use crate::{
    bounds::masked,
    maps::{ADDRESSES, LOCAL_PREFIXES},
    network::Network,
    packet_program::{FlowDirection, PacketProgram},
};

/// Which end of a packet is this host's. One lookup suffices for nearly all packets: what arrives is
/// for this host, and what leaves is from it.
#[inline(always)]
pub(crate) fn orientation<P: PacketProgram>(
    packet: P::View,
    segment: PackedSegment,
) -> Orientation {
    let control = control();
    if !control.is_complete {
        return Orientation::Usual;
    }
    let Some(network) = Network::read(packet, segment.network()) else {
        return Orientation::Usual;
    };
    let (source, destination) = (network.source_key(), network.destination_key());
    match P::Direction::VALUE {
        Direction::Ingress if is_ours(control, destination) => Orientation::Usual,
        Direction::Ingress if is_ours(control, source) => Orientation::Reversed,
        Direction::Egress if is_ours(control, source) || source.is_unspecified() => {
            Orientation::Usual
        }
        Direction::Egress if is_ours(control, destination) => Orientation::Reversed,
        _ => Orientation::Transit,
    }
}

#[inline(always)]
fn control() -> AddressControl {
    // SAFETY: an aligned word of the section; userspace writes it whole.
    AddressControl::from_word(unsafe { (&raw const (*ADDRESSES.get()).control).read_volatile() })
}

/// Whether an address is found to be this host's at the first look. If it is not, that says nothing.
/// While the addresses are not known the tables are zero, and hold but the unspecified address.
#[inline(always)]
pub(crate) fn is_surely_ours(key: AddressKey) -> bool {
    let control = control();
    has_at(Addresses::slot_offset(control.table, 0) | key.first_offset(), key)
}

/// Whether an address is known to be this host's.
#[inline(always)]
pub(crate) fn is_local(key: AddressKey) -> bool {
    let control = control();
    key.is_ipv4_loopback() || control.is_complete && is_ours(control, key)
}

#[inline(always)]
fn is_ours(control: AddressControl, key: AddressKey) -> bool {
    let [first, second] = key.positions();
    has(control.table, first, key)
        || has(control.table, second, key)
        || key.is_ipv4_loopback()
        || control.has_prefixes && is_within_prefix(key.0[0], key.0[1])
}

/// Whether a slot holds the address.
#[inline(always)]
fn has(table: u32, slot: usize, key: AddressKey) -> bool {
    has_at(Addresses::slot_offset(table, slot), key)
}

/// Whether the slot at an offset holds the address.
#[inline(always)]
fn has_at(offset: u64, key: AddressKey) -> bool {
    /// Multiples of a slot within both tables.
    const MASK: u32 = (size_of::<Addresses>() - size_of::<u64>() - 1) as u32 & !15;
    const _: () = assert!((size_of::<Addresses>() - size_of::<u64>()).is_power_of_two());
    let offset = masked::<MASK>(offset);
    // SAFETY: two words within the tables.
    let slot = unsafe { ADDRESSES.get().cast::<[u64; 2]>().byte_add(offset as usize) };
    // SAFETY: as above. Userspace writes only to the table that no program reads.
    let [first, second] = unsafe { slot.read_volatile() };
    first == key.0[0] && second == key.0[1]
}

/// Not inlined: few hosts have such networks, or more addresses than the tables hold.
#[inline(never)]
fn is_within_prefix(first: u64, second: u64) -> bool {
    let data: PrefixData = AddressKey([first, second]).prefix_data();
    LOCAL_PREFIXES.get(&Key::new(whole_prefix(&data), data)).is_some()
}
