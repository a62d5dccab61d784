//! Who talks on a watched port: how many remote addresses, and which of them the most, in memory
//! that does not grow whatever they send.
//!
//! The number comes from sketches, one for a port, protocol and window of time (`HyperLogLog`,
//! Flajolet and others, 2007). The most talkative are in a table of few rows, into which a newcomer
//! is let with a probability that falls with what the row it would take has had (randomized
//! admission, Ben Basat and others, 2017): a flood of addresses that each send a packet cannot push
//! out one that sends thousands.

use crate::{
    flow::Protocol,
    limits::{SOURCE_WINDOWS, TALKER_SETS, TALKER_WAYS},
    ports::WirePort,
    sampling::AddressWords,
};

/// Registers of a [`Sketch`]; a power of two. The standard error of an estimate is 1.04 / √512,
/// which is 4.6 percent.
pub const REGISTERS: usize = 512;

/// How many different hashes were shown, as an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct Sketch {
    /// Each has the longest run of zeros among the hashes that fell to it, and one more.
    pub registers: [u8; REGISTERS],
}

/// Index of a sketch.
#[inline(always)]
pub const fn sketch_index(port_index: u32, protocol: Protocol, window: u32) -> u32 {
    (port_index * 2 + protocol as u32) * SOURCE_WINDOWS + window % SOURCE_WINDOWS
}

/// Sketches for port indices below `port_indices`.
pub const fn sketch_count(port_indices: u32) -> u32 {
    port_indices * 2 * SOURCE_WINDOWS
}

/// The register that a hash falls to.
#[inline(always)]
pub const fn register_of(hash: u64) -> usize {
    hash as usize & (REGISTERS - 1)
}

/// What a register that is `value` becomes by a hash, or `None` when it stays: nearly always, and
/// known without counting zeros.
#[inline(always)]
pub const fn raised(value: u8, hash: u64) -> Option<u8> {
    // A bit that ends the run at 48 at the latest.
    let rest = hash >> 16 | 1 << 47;
    let value = (value & 63) as u32;
    if value > 0 && rest & ((1 << value) - 1) != 0 {
        return None;
    }
    Some(trailing_zeros(rest) + 1)
}

/// By halves: the BPF target has no instruction for it, and would be given a table instead.
const fn trailing_zeros(word: u64) -> u8 {
    let mut word = word;
    let mut zeros = 0;
    let mut half = 32;
    while half > 0 {
        if word & ((1 << half) - 1) == 0 {
            word >>= half;
            zeros += half;
        }
        half /= 2;
    }
    zeros as u8
}

impl Sketch {
    /// A sketch that was shown nothing.
    pub const EMPTY: Self = Self { registers: [0; REGISTERS] };

    /// Register by register the greater of the two: what one sketch would be that was shown both.
    pub fn merge(&mut self, other: &Self) {
        for (register, other) in self.registers.iter_mut().zip(other.registers) {
            *register = other.max(*register);
        }
    }

    /// Shows it a hash.
    pub fn insert(&mut self, hash: u64) {
        let register = &mut self.registers[register_of(hash)];
        if let Some(value) = raised(*register, hash) {
            *register = value;
        }
    }
}

#[cfg(feature = "user")]
impl Sketch {
    /// Estimated number of different addresses; the standard error is 4.6 percent.
    ///
    /// Flajolet and others, "`HyperLogLog`", 2007, figure 3: the harmonic mean of the registers, and
    /// counting empty ones while there are enough of them.
    pub fn estimate(&self) -> u64 {
        const COUNT: f64 = REGISTERS as f64;
        const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / COUNT);
        // Fewer powers to compute than by register.
        let mut registers_by_value = [0_u32; 64];
        for value in self.registers {
            registers_by_value[usize::from(value & 63)] += 1;
        }
        let powers = (0_i32..).zip(registers_by_value);
        let sum: f64 = powers.map(|(value, count)| f64::from(count) * 0.5_f64.powi(value)).sum();
        let raw = ALPHA * COUNT * COUNT / sum;
        let empty = registers_by_value[0];
        let estimate = if raw <= 2.5 * COUNT && empty > 0 {
            COUNT * (COUNT / f64::from(empty)).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

/// One remote address on one port: a row of the table of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Talker {
    /// The remote address.
    pub address: AddressWords,
    /// Packets since it has this row, by direction.
    pub packets: [u64; 2],
    /// Frame bytes of these.
    pub bytes: [u64; 2],
    /// What a newcomer is measured against; halved with every window.
    pub weight: u32,
    /// The watched port as it lies in the packet, the protocol, and the version of IP: see
    /// [`talker_key`].
    pub key: u32,
    /// Window in which it got this row.
    pub first_window: u32,
    /// Window in which it was last seen; 0 for a free row.
    pub last_window: u32,
}
const _: () = assert!(size_of::<Talker>() == 64);

/// The rest of what makes a talker, in one word. Never 0.
#[inline(always)]
pub const fn talker_key(port: WirePort, protocol: Protocol, family: u8) -> u32 {
    port.0 as u32 | (protocol as u32) << 16 | (family as u32) << 24
}

/// The parts of a [`talker_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TalkerKey {
    /// The watched port, host byte order.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Version of IP.
    pub family: u8,
}

impl TalkerKey {
    /// Takes a key apart; none where there is no such protocol.
    pub fn of(key: u32) -> Option<Self> {
        let number = (key >> 16) as u8;
        Some(Self {
            port: WirePort(key as u16).number(),
            protocol: Protocol::COMMON.into_iter().find(|protocol| *protocol as u8 == number)?,
            family: (key >> 24) as u8,
        })
    }
}

/// The rows among which a talker has its own.
pub type TalkerSet = [Talker; TALKER_WAYS];

/// The set in which a talker is looked for; `address` is what
/// [`FlowKeys::address`](crate::sampling::FlowKeys::address) makes of its own.
#[inline(always)]
pub const fn talker_set(cpu: u32, address: u64, key: u32) -> u32 {
    let set = (address >> 40) as u32 ^ key.wrapping_mul(0x9e37_79b1) >> 16;
    cpu * TALKER_SETS + set % TALKER_SETS
}

/// Sets of the tables of all CPUs.
pub const fn talker_set_count(cpus: u32) -> u32 {
    cpus * TALKER_SETS
}

impl Talker {
    /// Whether the row is this talker's.
    #[inline(always)]
    pub const fn is(&self, address: AddressWords, key: u32) -> bool {
        // One branch.
        let address = (self.address[0] ^ address[0]) | (self.address[1] ^ address[1]);
        address | (self.key ^ key) as u64 == 0
    }

    /// What it takes to get this row in `window`.
    #[inline(always)]
    pub const fn price(&self, window: u32) -> u32 {
        let age = window.wrapping_sub(self.last_window);
        if age >= SOURCE_WINDOWS { 0 } else { self.weight >> age }
    }

    /// Adds the weight of packets in `window`.
    #[inline(always)]
    pub const fn weigh(&mut self, packets: u64, window: u32) {
        if self.last_window != window {
            self.weight = self.price(window);
            self.last_window = window;
        }
        self.weight = self.weight.saturating_add(packets as u32);
    }
}

/// Whether a newcomer that has drawn `chance` out of 2³² gets a row of this price.
#[inline(always)]
pub const fn is_admitted(chance: u32, price: u32) -> bool {
    (chance as u64) * (price as u64 + 1) < 1 << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_register_keeps_the_longest_run(hashes in proptest::collection::vec(any::<u64>(), 1..64)) {
            let mut value = 0;
            for hash in &hashes {
                value = raised(value, *hash).unwrap_or(value);
            }
            let runs = hashes.iter().map(|hash| (hash >> 16 | 1 << 47).trailing_zeros() as u8 + 1);
            prop_assert_eq!(Some(value), runs.max());
        }

        #[test]
        fn a_price_falls_with_time(weight: u32, last in 0_u32..u32::MAX - 8) {
            let talker = Talker { weight, last_window: last, ..Talker::default() };
            prop_assert_eq!(talker.price(last), weight);
            prop_assert_eq!(talker.price(last + 1), weight / 2);
            prop_assert_eq!(talker.price(last + SOURCE_WINDOWS), 0);
            prop_assert!(is_admitted(u32::MAX, talker.price(last + SOURCE_WINDOWS)));
        }

        #[test]
        fn sets_are_within_the_table(cpu in 0_u32..16, hash: u64, key: u32) {
            let set = talker_set(cpu, hash, key);
            prop_assert!(set / TALKER_SETS == cpu);
            prop_assert!(set < talker_set_count(16));
        }
    }

    #[test]
    fn keys_come_apart() {
        let key = talker_key(WirePort::of(2948), Protocol::Udp, 6);
        let parts = TalkerKey { port: 2948, protocol: Protocol::Udp, family: 6 };
        assert_eq!(TalkerKey::of(key), Some(parts));
        assert_eq!(TalkerKey::of(key | 0xff << 16), None);
    }

    #[test]
    fn a_weight_is_halved_with_the_window() {
        let mut talker = Talker::default();
        talker.weigh(2, 5);
        talker.weigh(1, 5);
        talker.weigh(1, 6);
        assert_eq!((talker.weight, talker.last_window), (2, 6));
    }
}
