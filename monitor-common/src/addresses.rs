//! The addresses of this host as the kernel side looks them up: exactly, in one or two loads.
//!
//! Userspace fills an [`AddressTable`] with every address that is local to this host; the programs
//! compare a packet's address with the slots that it may be in. The table is a cuckoo hash with two
//! places for an address (Pagh and Rodler, "Cuckoo hashing", 2001, section 2), so that a lookup reads
//! two slots at most and never answers wrongly. An address that finds no place is handed back to the
//! caller, which keeps it elsewhere.

use core::net::{IpAddr, Ipv4Addr};

use crate::sampling::AddressWords;

/// Slots of a table; a power of two. Half of them can be filled without trouble.
pub const ADDRESS_SLOTS: usize = 1024;

/// The second word of an IPv4 address. An IPv6 address with this lower half and an upper half of 32
/// bits would be equal to one of IPv4, and lies in a range that is not assigned to anything
/// (RFC 4291 section 2.4, `0000::/3` without the addresses that embed IPv4).
const IPV4_TAG: u64 = u64::MAX;

/// A slot without an address: `ffff:ffff:ffff:ffff::`, which is no address of a host (RFC 4291
/// section 2.7 reserves the scope).
const EMPTY: AddressWords = [u64::MAX, 0];

/// Odd multipliers (multiply-shift hashing, Dietzfelbinger and others, 1997).
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

/// Moves of an insertion before it gives up: a table that is half full needs a handful.
const MAX_MOVES: usize = 64;

/// An address as a key: what the kernel side reads from a packet, with its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct AddressKey(pub AddressWords);

impl AddressKey {
    /// From the four bytes of an IPv4 address as a packet carries them, in the first word.
    #[inline(always)]
    pub const fn of_ipv4(word: u64) -> Self {
        Self([word, IPV4_TAG])
    }

    /// From the words of an IPv6 address as a packet carries them.
    #[inline(always)]
    pub const fn of_ipv6(words: AddressWords) -> Self {
        Self(words)
    }

    /// Whether it lies in 127.0.0.0/8, which is local on every host (RFC 1122 section 3.2.1.3).
    #[inline(always)]
    pub const fn is_ipv4_loopback(self) -> bool {
        const MASK: u64 = u32::from_ne_bytes([255, 0, 0, 0]) as u64;
        const NETWORK: u64 = u32::from_ne_bytes([127, 0, 0, 0]) as u64;
        self.0[1] == IPV4_TAG && self.0[0] & MASK == NETWORK
    }

    /// The address as the map of prefixes has it.
    #[inline(always)]
    pub const fn prefix_data(self) -> PrefixData {
        if self.0[1] == IPV4_TAG {
            return [4, self.0[0] as u32, 0, 0, 0];
        }
        let [a, b] = halves(self.0[0]);
        let [c, d] = halves(self.0[1]);
        [6, a, b, c, d]
    }

    /// Whether it is the unspecified address, which a host has as its source before it has another
    /// (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2).
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        self.0[0] == 0 && (self.0[1] == 0 || self.0[1] == IPV4_TAG)
    }

    const BITS: u32 = ADDRESS_SLOTS.trailing_zeros();

    #[inline(always)]
    const fn hash(self) -> u64 {
        const { assert!(ADDRESS_SLOTS.is_power_of_two()) };
        self.0[0].wrapping_mul(MULTIPLIERS[0]).wrapping_add(self.0[1].wrapping_mul(MULTIPLIERS[1]))
    }

    /// The two slots in which the address may be.
    #[inline(always)]
    pub const fn positions(self) -> [usize; 2] {
        let hash = self.hash();
        let first = hash >> (u64::BITS - Self::BITS);
        let second = hash >> (u64::BITS - 2 * Self::BITS) & (ADDRESS_SLOTS as u64 - 1);
        [first as usize, second as usize]
    }

    /// Byte offset of the first of them in a table, with other bits below a slot's size, which
    /// the kernel side masks with those that the verifier wants masked.
    #[inline(always)]
    pub const fn first_offset(self) -> u64 {
        const SLOT: u32 = size_of::<AddressWords>().trailing_zeros();
        self.hash() >> (u64::BITS - Self::BITS - SLOT)
    }
}

/// The halves of a word, in the order of memory.
#[inline(always)]
const fn halves(word: u64) -> [u32; 2] {
    let halves = [word as u32, (word >> 32) as u32];
    if cfg!(target_endian = "little") { halves } else { [halves[1], halves[0]] }
}

impl From<IpAddr> for AddressKey {
    /// An IPv4-mapped address (RFC 4291 section 2.5.5.2) is the IPv4 address: that is what its packets
    /// carry.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_ipv4(ipv4_word(address)),
            IpAddr::V6(address) => {
                let octets = address.octets();
                let (first, second) = octets.split_at(8);
                let word = |bytes: &[u8]| {
                    let mut word = [0; 8];
                    word.copy_from_slice(bytes);
                    u64::from_ne_bytes(word)
                };
                Self::of_ipv6([word(first), word(second)])
            }
        }
    }
}

fn ipv4_word(address: Ipv4Addr) -> u64 {
    u64::from(u32::from_ne_bytes(address.octets()))
}

/// A set of addresses with two places for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct AddressTable {
    slots: [AddressWords; ADDRESS_SLOTS],
}

impl AddressTable {
    /// The table without an address.
    pub const EMPTY: Self = Self { slots: [EMPTY; ADDRESS_SLOTS] };

    /// Adds an address. Returns the address that has no place in the table now, which may be another
    /// one than the address that was added; `None` if all have one.
    #[must_use = "an address without a place has to be kept elsewhere"]
    pub fn insert(&mut self, key: AddressKey) -> Option<AddressKey> {
        if self.contains(key) {
            return None;
        }
        let mut homeless = key;
        let mut place = key.positions()[0];
        for _ in 0..MAX_MOVES {
            let slot = &mut self.slots[place];
            let displaced = AddressKey(core::mem::replace(slot, homeless.0));
            if displaced.0 == EMPTY {
                return None;
            }
            homeless = displaced;
            let [first, second] = displaced.positions();
            place = if place == first { second } else { first };
        }
        Some(homeless)
    }

    /// Whether the table has an address.
    pub fn contains(&self, key: AddressKey) -> bool {
        key.positions().into_iter().any(|place| self.slots[place] == key.0)
    }
}

/// The addresses of this host as the programs find them; the value of a variable of the object.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Addresses {
    /// The table in use, and the one that is filled next.
    pub tables: [AddressTable; 2],
    /// [`AddressControl`] as a word.
    pub control: u64,
}

impl Addresses {
    /// Not known yet. All zero, as a section without contents has to be.
    pub const UNKNOWN: Self =
        Self { tables: [AddressTable { slots: [[0; 2]; ADDRESS_SLOTS] }; 2], control: 0 };

    /// Byte offset of a slot of a table.
    #[inline(always)]
    pub const fn slot_offset(table: u32, slot: usize) -> u64 {
        table as u64 * size_of::<AddressTable>() as u64
            + slot as u64 * size_of::<AddressWords>() as u64
    }
}

/// Data of a key in the map of prefixes: the version of IP, and the bytes of the address. The version
/// counts among the bits of the prefix.
pub type PrefixData = [u32; 5];

/// Bits of the version of IP in front of the address in [`PrefixData`].
pub const PREFIX_FAMILY_BITS: u32 = u32::BITS;

/// Whether it is one address: the length of its prefix in the map, bits.
#[inline(always)]
pub const fn whole_prefix(data: &PrefixData) -> u32 {
    PREFIX_FAMILY_BITS + if data[0] == 4 { 32 } else { 128 }
}

/// What the programs read first of the addresses: the last word of [`Addresses`].
///
/// There are two tables. Userspace fills the one that is not in use, and exchanges them by writing
/// this word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressControl {
    /// Which table is in use, 0 or 1.
    pub table: u32,
    /// Whether the table was filled at least once. Until then nothing is known to be transit.
    pub is_complete: bool,
    /// Whether there are prefixes, or addresses beyond the table, in the map of prefixes.
    pub has_prefixes: bool,
}

impl AddressControl {
    const TABLE: u64 = 1;
    const COMPLETE: u64 = 1 << 1;
    const PREFIXES: u64 = 1 << 2;

    /// From the word in the map.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            table: (word & Self::TABLE) as u32,
            is_complete: word & Self::COMPLETE != 0,
            has_prefixes: word & Self::PREFIXES != 0,
        }
    }

    /// The word in the map.
    pub const fn to_word(self) -> u64 {
        let complete = if self.is_complete { Self::COMPLETE } else { 0 };
        let prefixes = if self.has_prefixes { Self::PREFIXES } else { 0 };
        self.table as u64 & Self::TABLE | complete | prefixes
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::Ipv6Addr, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn table_of(addresses: &[IpAddr]) -> (AddressTable, Vec<AddressKey>) {
        let mut table = AddressTable::EMPTY;
        let left = addresses.iter().filter_map(|address| table.insert((*address).into())).collect();
        (table, left)
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
            any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
            // Addresses of one subnet differ in few bits.
            any::<u8>().prop_map(|host| Ipv4Addr::new(10, 244, 1, host).into()),
            any::<u16>()
                .prop_map(|host| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, host).into()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

        #[test]
        fn table_and_leftovers_are_the_set(
            addresses in prop::collection::vec(any_address(), 0..600),
            others in prop::collection::vec(any_address(), 0..100),
        ) {
            let (table, left) = table_of(&addresses);
            let keys: HashSet<AddressKey> = addresses.iter().map(|a| (*a).into()).collect();
            let has = |key| table.contains(key) || left.contains(&key);
            prop_assert!(keys.iter().all(|key| has(*key)));
            prop_assert!(left.iter().all(|key| keys.contains(key)));
            for other in others.into_iter().map(AddressKey::from) {
                prop_assert_eq!(has(other), keys.contains(&other));
            }
        }
    }

    #[test]
    fn a_subnet_of_containers_fits() {
        let hosts = (0..=255).map(|host| IpAddr::from([10, 244, 1, host]));
        let (_, left) = table_of(&hosts.collect::<Vec<_>>());
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn families_differ() {
        let (table, _) = table_of(&["10.0.0.1".parse().expect("an address")]);
        let has = |address: &str| table.contains(address.parse::<IpAddr>().expect("one").into());
        assert!(has("10.0.0.1") && has("::ffff:10.0.0.1"));
        assert!(!has("a00:1::") && !has("::10.0.0.1"));
    }

    #[test]
    fn loopback_is_eight_bits() {
        let is = |address: [u8; 4]| AddressKey::from(IpAddr::from(address)).is_ipv4_loopback();
        assert!(is([127, 0, 0, 1]) && is([127, 255, 255, 254]));
        assert!(!is([126, 0, 0, 1]) && !is([1, 0, 0, 127]));
        assert!(!AddressKey::from(IpAddr::from(Ipv6Addr::LOCALHOST)).is_ipv4_loopback());
    }

    #[test]
    fn an_offset_is_that_of_the_first_position() {
        for address in ["192.0.2.1", "2001:db8::1", "::1"] {
            let key = AddressKey::from(address.parse::<IpAddr>().expect("an address"));
            let offset = Addresses::slot_offset(0, key.positions()[0]);
            assert_eq!(key.first_offset() & !15, offset, "{address}");
        }
    }

    #[test]
    fn control_is_one_word() {
        for bits in 0..8 {
            assert_eq!(AddressControl::from_word(bits).to_word(), bits);
        }
    }
}
