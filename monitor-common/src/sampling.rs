//! Which packets are sampled: the first that each end of a conversation sends, over TCP also what
//! directly follows it, so many of one source, and so many in all.
//!
//! What is remembered is in arrays of words, each word a tag and a number: a word is read and
//! written whole, so that no CPU sees half of one, and nothing ever waits. Two flows that share a
//! word forget each other. What follows from that is a payload that is missed, or, over UDP, one
//! that is reported again.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    flow_word::{FLOW, FLOW_IN_SLOT, STATE},
    limits::{
        CONTINUATIONS_PER_SOURCE, CONVERSATIONS, RECENT_SOURCES, SAMPLES_PER_SECOND,
        SAMPLES_PER_SOURCE,
    },
    open_flight::is_over,
};

/// What userspace sets for the programs, and renews from time to time; the value of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SamplingControl {
    /// Counts windows of time. 0 while sources are not collected.
    pub window: u32,
    /// Counts the renewals of the budgets, one a second. It is the generation of the sums of socket
    /// calls, too: see [`SumKey`](crate::call_sum::SumKey).
    pub second: u32,
    /// What hashes begin with, so that a sender cannot choose addresses with one hash.
    pub seed: u64,
    /// Samples that may still be taken, by [`Budget`].
    pub budgets: [i64; SAMPLES_PER_SECOND.len()],
    /// What flows are hashed with: see [`FlowKeys::of_seed`].
    pub keys: FlowKeys,
}

impl SamplingControl {
    /// Neither samples nor sources are collected. All zero, as a section without contents has to be.
    pub const NOTHING: Self = Self {
        window: 0,
        second: 0,
        seed: 0,
        budgets: [0; SAMPLES_PER_SECOND.len()],
        keys: FlowKeys([0; 4]),
    };
}

/// Odd numbers that are unknown outside this host.
///
/// Words are multiplied by them and added up (multiply-shift hashing, Dietzfelbinger and others,
/// 1997): it is chance alone that gives the same upper half to flows that differ in one word. That
/// takes a fifth of the instructions of [`mix`], which is for what is less frequent than packets.
/// Flows of IPv6 can be forged so that they share a word, which gains nothing that a second datagram
/// of the same flow would not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(transparent)]
pub struct FlowKeys(pub [u64; 4]);

impl FlowKeys {
    /// Keys that follow from a seed.
    pub const fn of_seed(seed: u64) -> Self {
        let [a, b, c, d] = [mix(seed ^ 1), mix(seed ^ 2), mix(seed ^ 3), mix(seed ^ 4)];
        Self([a | 1, b | 1, c | 1, d | 1])
    }

    /// What an address adds to hashes.
    #[inline(always)]
    pub const fn address(&self, address: AddressWords) -> u64 {
        address[0].wrapping_mul(self.0[0]).wrapping_add(address[1].wrapping_mul(self.0[1]))
    }

    /// Hash of one direction of a conversation, of what both addresses add. `ports` is both of
    /// them, in the order of the packet.
    #[inline(always)]
    pub const fn flow(&self, source: u64, destination: u64, ports: u32, protocol: u32) -> u64 {
        let rest = ((protocol as u64) << 32 | ports as u64).wrapping_mul(self.0[3]);
        source.wrapping_add(destination.wrapping_mul(self.0[2])).wrapping_add(rest)
    }
}

/// Samples are taken from three purses, so that forged packets take none from conversations, and
/// long payloads none from first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Budget {
    /// Payloads of TCP: a handshake went before them.
    Connections = 0,
    /// Datagrams and connection attempts, whose sender may claim any address.
    Unverified = 1,
    /// What follows the first sample of a TCP flow.
    Continuations = 2,
}

/// An IP address as two words; one of IPv4 is in the first.
pub type AddressWords = [u64; 2];

/// The bytes of an address, in the order of the packet; of IPv4 the first four.
pub const fn address_bytes(address: AddressWords) -> [u8; 16] {
    let [first, second] = [address[0].to_ne_bytes(), address[1].to_ne_bytes()];
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&first);
    tail.copy_from_slice(&second);
    bytes
}

/// The address of this family, 4 or 6, that lies in these bytes; `None` for another family.
pub fn ip_address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    match family {
        4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// Mixes a word so that every bit of it depends on every other, by multiplications with odd
/// constants and shifts, each of which loses nothing.
#[inline(always)]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word ^ (word >> 32)
}

/// Hash of an address.
#[inline(always)]
pub const fn hash_address(address: AddressWords, seed: u64) -> u64 {
    mix(address[0] ^ seed) ^ address[1].wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Index of the word that a flow has among [`CONVERSATIONS`]: the uppermost bits, which depend on
/// all the others.
#[inline(always)]
pub const fn conversation_index(flow: u64) -> u32 {
    const _: () = assert!(CONVERSATIONS.is_power_of_two());
    (flow >> (u64::BITS - CONVERSATIONS.trailing_zeros())) as u32
}

/// The word of a TCP flow whose first byte of payload will have this sequence number.
#[inline(always)]
pub const fn awaiting(flow: u64, sequence: u32) -> u64 {
    flow & FLOW | AWAITING | sequence as u64
}

/// The same, once it has acknowledged what it was answered.
#[inline(always)]
pub const fn acknowledged(flow: u64, sequence: u32) -> u64 {
    flow & FLOW | ACKNOWLEDGED | sequence as u64
}

/// The word of a flow from which no more is wanted in this window: its first payload was seen, or
/// went by unseen, and its remote address, as the [`Direction`](crate::flow::Direction) has it, was
/// noted.
#[inline(always)]
pub const fn settled(flow: u64, window: u32, direction: usize) -> u64 {
    flow & FLOW | SETTLED | noted(direction) | window as u64 & WINDOW
}

/// Whether a word says that a flow is settled, in this window and direction.
#[inline(always)]
pub const fn is_settled(word: u64, flow: u64, window: u32, direction: usize) -> bool {
    let other = noted(1 - (direction & 1));
    (word ^ settled(flow, window, direction)) & !other == 0
}

/// Whether a word says that a flow was settled a short time ago.
#[inline(always)]
pub const fn was_settled(word: u64, flow: u64, window: u32) -> bool {
    (word ^ (flow & FLOW | SETTLED)) & (FLOW | STATE) == 0 && age(word, window) < 2
}

/// Both directions in which the remote address of a settled flow was noted.
#[inline(always)]
pub const fn merged(word: u64, now: u64) -> u64 {
    if (word ^ now) & !NOTED == 0 { word | now } else { now }
}

/// Whether a word may be replaced: it is of no flow, or of one of which no more was wanted some time
/// ago.
#[inline(always)]
pub const fn is_free(word: u64, window: u32, second: u32) -> bool {
    word == 0 || word & STATE == SETTLED && age(word, window) >= 2 || is_over(word, second)
}

/// The sequence number of the first byte of payload, if a word awaits it of this flow.
#[inline(always)]
pub const fn awaited(word: u64, flow: u64) -> Option<u32> {
    let is_ours = (word ^ flow) & FLOW == 0;
    if is_ours && matches!(word & STATE, AWAITING | ACKNOWLEDGED) {
        Some(word as u32)
    } else {
        None
    }
}

/// Whether a word is of another flow, or of none.
#[inline(always)]
pub const fn is_of_other(word: u64, flow: u64) -> bool {
    word == 0 || (word ^ flow) & FLOW_IN_SLOT != 0
}

/// Windows since a flow was settled.
#[inline(always)]
const fn age(word: u64, window: u32) -> u64 {
    (window as u64).wrapping_sub(word) & WINDOW
}

#[inline(always)]
const fn noted(direction: usize) -> u64 {
    1 << 30 << (direction & 1)
}

const AWAITING: u64 = 1 << 32;
const ACKNOWLEDGED: u64 = 2 << 32;
const SETTLED: u64 = 3 << 32;
/// Of a settled flow, the directions in which its remote address was noted.
const NOTED: u64 = 3 << 30;
/// Of a settled flow, when.
const WINDOW: u64 = (1 << 30) - 1;

/// Index of the word that a source has among [`RECENT_SOURCES`].
#[inline(always)]
pub const fn source_index(source: u64) -> u32 {
    source as u32 & (RECENT_SOURCES - 1)
}

/// The half of a source's word that says whose it is.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// The word of a source after one more first sample in this window, or `None` when it has had its
/// share.
#[inline(always)]
pub const fn one_more(word: u64, source: u64, window: u32) -> Option<u64> {
    let word = of_window(word, source, window);
    if word & FIRSTS >= SAMPLES_PER_SOURCE { None } else { Some(word + 1) }
}

/// The word of a source after so many more continuations, or `None` when that exceeds its share.
#[inline(always)]
pub const fn more_continuations(word: u64, source: u64, window: u32, count: u32) -> Option<u64> {
    let word = of_window(word, source, window);
    let had = (word >> CONTINUATIONS_SHIFT) & 0xff;
    if had + count as u64 > CONTINUATIONS_PER_SOURCE {
        None
    } else {
        Some(word + ((count as u64) << CONTINUATIONS_SHIFT))
    }
}

/// The word if it is of this source and window, and one without samples otherwise.
#[inline(always)]
const fn of_window(word: u64, source: u64, window: u32) -> u64 {
    let ours = source & TAG | ((window & 0xffff) as u64) << 16;
    if (word ^ ours) >> 16 == 0 { word } else { ours }
}

/// The part of a source's word that counts its first samples; the byte above counts continuations.
const FIRSTS: u64 = 0xff;
const CONTINUATIONS_SHIFT: u32 = 8;
const _: () = assert!(SAMPLES_PER_SOURCE < FIRSTS && CONTINUATIONS_PER_SOURCE <= 0xff);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mixing_loses_nothing(a: u64, b: u64) {
            prop_assert_eq!(a == b, mix(a) == mix(b));
        }

        #[test]
        fn directions_are_two_flows(seed: u64, a: AddressWords, b: AddressWords, ports: u32) {
            prop_assume!(a != b);
            let keys = FlowKeys::of_seed(seed);
            let (a, b) = (keys.address(a), keys.address(b));
            let back = ports.rotate_left(16);
            prop_assert_ne!(keys.flow(a, b, ports, 0), keys.flow(b, a, back, 0));
        }

        #[test]
        fn a_settled_flow_is_known_for_a_while(
            flow: u64,
            window in 2_u32..1 << 30,
            direction in 0_usize..2,
        ) {
            let word = settled(flow, window, direction);
            prop_assert!(is_settled(word, flow, window, direction));
            prop_assert!(!is_settled(word, flow, window, 1 - direction));
            prop_assert!(!is_settled(word, flow, window + 1, direction));
            prop_assert!(was_settled(word, flow, window));
            prop_assert!(was_settled(word, flow, window + 1));
            prop_assert!(!was_settled(word, flow, window + 2));
            prop_assert!(!was_settled(word, flow ^ 1 << 40, window));
            prop_assert!(!is_free(word, window + 1, 0));
            prop_assert!(is_free(word, window + 2, 0));
        }

        #[test]
        fn directions_are_settled_one_by_one(flow: u64, window in 0_u32..1 << 30) {
            let both = merged(settled(flow, window, 0), settled(flow, window, 1));
            prop_assert!(is_settled(both, flow, window, 0));
            prop_assert!(is_settled(both, flow, window, 1));
            let later = merged(both, settled(flow, window + 1, 0));
            prop_assert!(!is_settled(later, flow, window + 1, 1));
        }

        #[test]
        fn what_is_awaited_is_neither_settled_nor_free(flow: u64, sequence: u32, window: u32) {
            for word in [awaiting(flow, sequence), acknowledged(flow, sequence)] {
                prop_assert!(!was_settled(word, flow, window));
                prop_assert!(!is_settled(word, flow, window, 0));
                prop_assert!(!is_free(word, window, 0));
            }
            prop_assert_ne!(awaiting(flow, sequence), acknowledged(flow, sequence));
        }

        #[test]
        fn a_source_has_its_share_in_every_window(word: u64, source: u64, window: u32) {
            // Whatever was in the word before, and unless it was this source's.
            prop_assume!((word ^ source) & TAG != 0);
            let mut word = word;
            for _ in 0..SAMPLES_PER_SOURCE {
                word = one_more(word, source, window).expect("its share");
            }
            prop_assert_eq!(one_more(word, source, window), None);
            prop_assert!(one_more(word, source, window.wrapping_add(1)).is_some());
            prop_assert!(one_more(word, source ^ 1 << 63, window).is_some());
        }

        #[test]
        fn continuations_are_a_share_of_their_own(word: u64, source: u64, window: u32) {
            prop_assume!((word ^ source) & TAG != 0);
            let all = CONTINUATIONS_PER_SOURCE as u32;
            let word = one_more(word, source, window).expect("a first one");
            prop_assert_eq!(more_continuations(word, source, window, all + 1), None);
            let word = more_continuations(word, source, window, all - 1).expect("its share");
            prop_assert_eq!(more_continuations(word, source, window, 2), None);
            let mut word = more_continuations(word, source, window, 1).expect("the last one");
            for _ in 1..SAMPLES_PER_SOURCE {
                word = one_more(word, source, window).expect("its share");
            }
            prop_assert_eq!(one_more(word, source, window), None);
            prop_assert!(more_continuations(word, source, window.wrapping_add(1), 15).is_some());
        }
    }

    /// Neighbours in any part of the address.
    #[test]
    fn flows_of_neighbours_spread() {
        let keys = FlowKeys::of_seed(7);
        for bit in (0..128).step_by(8) {
            let flows = (0..256_u128).map(|value| {
                let value = value << bit;
                let address = keys.address([value as u64, (value >> 64) as u64]);
                keys.flow(address, keys.address([1, 0]), 5, 1)
            });
            let (words, slots): (HashSet<u64>, HashSet<u32>) =
                flows.map(|flow| (flow & FLOW, conversation_index(flow))).unzip();
            assert_eq!(words.len(), 256, "bit {bit}");
            assert!(slots.len() > 128, "{} of 256, bit {bit}", slots.len());
        }
    }

    #[test]
    fn neighbouring_addresses_spread() {
        let slots: HashSet<u32> = (0..256_u64)
            .map(|last| source_index(hash_address([0x0a | last << 24, 0], 7)))
            .collect();
        assert!(slots.len() > 200, "{} of 256", slots.len());
    }
}
