//! Which packets are sampled: the first that each end of a conversation sends, so many of one
//! source, and so many in all.
//!
//! What is remembered is in arrays of words, each word a tag and a number: a word is read and
//! written whole, so that no CPU sees half of one, and nothing ever waits. Two flows that share a
//! word forget each other. What follows from that is a payload that is missed, or, over UDP, one
//! that is told again.

use crate::limits::{CONVERSATIONS, RECENT_SOURCES, SAMPLES_PER_SOURCE};

/// What userspace tells the programs, and renews from time to time; the value of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SamplingControl {
    /// Counts windows of time. 0 while nobody wants to know of sources.
    pub window: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// What hashes begin with, so that nobody outside can choose addresses with one hash.
    pub seed: u64,
    /// Samples that may still be taken, by [`Budget`].
    pub budgets: [i64; 2],
}

/// Samples are taken from two purses, so that forged packets take none from conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Budget {
    /// Payloads of TCP: a handshake went before them.
    Connections = 0,
    /// Datagrams and connection attempts: whoever sends them may claim any address.
    Unverified = 1,
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

/// Hash of one direction of a conversation. `ports` is both of them, in the order of the packet.
#[inline(always)]
pub const fn hash_flow(source: u64, destination: u64, ports: u32, protocol: u32) -> u64 {
    mix(source.rotate_left(17) ^ destination ^ ((protocol as u64) << 32 | ports as u64))
}

/// Index of the word that a flow has among [`CONVERSATIONS`].
#[inline(always)]
pub const fn conversation_index(flow: u64) -> u32 {
    flow as u32 & (CONVERSATIONS - 1)
}

/// The word of a TCP flow whose first byte of payload will have this sequence number.
#[inline(always)]
pub const fn awaiting(flow: u64, sequence: u32) -> u64 {
    flow & TAG | sequence as u64
}

/// The same, once it has acknowledged what it was answered.
#[inline(always)]
pub const fn acknowledged(flow: u64, sequence: u32) -> u64 {
    awaiting(flow ^ 1 << 63, sequence)
}

/// The word of a UDP flow that was seen in this window.
#[inline(always)]
pub const fn seen(flow: u64, window: u32) -> u64 {
    flow & TAG | window as u64
}

/// Whether a word says that a UDP flow was seen a short time ago.
#[inline(always)]
pub const fn is_known(word: u64, flow: u64, window: u32) -> bool {
    (word ^ flow) & TAG == 0 && window.wrapping_sub(word as u32) < 2
}

/// The half of a word that says whose it is.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// Index of the word that a source has among [`RECENT_SOURCES`].
#[inline(always)]
pub const fn source_index(source: u64) -> u32 {
    source as u32 & (RECENT_SOURCES - 1)
}

/// The word of a source after one more sample in this window, or `None` when it has had its share.
#[inline(always)]
pub const fn one_more(word: u64, source: u64, window: u32) -> Option<u64> {
    let ours = source & TAG | ((window & 0xffff) as u64) << 16;
    if (word ^ ours) >> 16 != 0 {
        return Some(ours | 1);
    }
    if word & 0xffff >= SAMPLES_PER_SOURCE { None } else { Some(word + 1) }
}

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
        fn directions_are_two_flows(a: u64, b: u64, ports: u32) {
            prop_assume!(a != b);
            let back = ports.rotate_left(16);
            prop_assert_ne!(hash_flow(a, b, ports, 0), hash_flow(b, a, back, 0));
        }

        #[test]
        fn a_flow_is_known_for_a_while(flow: u64, window in 2_u32..) {
            prop_assert!(is_known(seen(flow, window), flow, window));
            prop_assert!(is_known(seen(flow, window - 1), flow, window));
            prop_assert!(!is_known(seen(flow, window - 2), flow, window));
            prop_assert!(!is_known(seen(flow, window), flow ^ 1 << 40, window));
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
    }

    #[test]
    fn neighbouring_addresses_spread() {
        let slots: HashSet<u32> = (0..256_u64)
            .map(|last| source_index(hash_address([0x0a | last << 24, 0], 7)))
            .collect();
        assert!(slots.len() > 200, "{} of 256", slots.len());
    }
}
