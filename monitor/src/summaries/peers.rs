//! How many peers there were.

use std::net::IpAddr;

/// Different peers of a group, in one bit each.
///
/// The addresses of a /24 have bits of their own, so their number is exact. Others are hashed to a
/// bit, and their number is estimated from the share of bits that are still zero (linear counting,
/// Whang and others, 1990): within a few percent up to 500.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers([u64; 4]);

const BITS: u32 = u64::BITS * 4;

impl Peers {
    /// Adds a peer of which `hash` is a hash. All peers are of one network, or of any.
    pub(super) fn add(&mut self, peer: IpAddr, hash: u64, is_of_network: bool) {
        let bit = match peer.to_canonical() {
            IpAddr::V4(address) if is_of_network => address.octets()[3].into(),
            _ => (hash % u64::from(BITS)) as u32,
        };
        self.0[(bit / u64::BITS) as usize] |= 1 << (bit % u64::BITS);
    }

    /// Number of peers, of which `last` was the last.
    pub(super) fn count(&self, last: IpAddr, is_of_network: bool) -> u64 {
        let ones = self.0.iter().map(|word| word.count_ones()).sum::<u32>();
        if is_of_network && last.to_canonical().is_ipv4() {
            return ones.into();
        }
        let bits = f64::from(BITS);
        // With no bit left, at least so many that one would be expected to be.
        let zeros = f64::from(BITS - ones).max(0.5);
        (bits * (bits / zeros).ln()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    #[test]
    fn peers_of_a_small_network_are_counted_exactly() {
        let mut peers = Peers::default();
        for last in [1, 9, 9, 255, 0, 1] {
            peers.add([192, 0, 2, last].into(), 7, true);
        }
        assert_eq!(peers.count([192, 0, 2, 1].into(), true), 4);
    }

    #[test]
    fn other_peers_are_estimated() {
        let hasher = RandomState::new();
        for many in [1_u32, 10, 300] {
            let mut peers = Peers::default();
            let address = |number: u32| IpAddr::from(number.to_be_bytes());
            for number in 0..many {
                peers.add(address(number), hasher.hash_one(number), false);
            }
            let estimate = peers.count(address(0), false) as f64;
            let error = (estimate - f64::from(many)).abs();
            assert!(error <= 1.0 + 0.35 * f64::from(many), "{estimate} of {many}");
        }
    }

    #[test]
    fn a_full_set_is_a_large_number() {
        let peers = Peers([u64::MAX; 4]);
        assert!(peers.count([192, 0, 2, 1].into(), false) > 1000);
    }
}
