//! Remote addresses on watched ports: estimates of their number, and those with most packets.

use std::{cmp::Reverse, net::IpAddr};

use jiff::Timestamp;
use monitor_common::{
    flow::{Direction, Protocol},
    limits::WINDOW_SECONDS,
};

/// Number of the window of time that `boottime_ns` is in. The first one is late enough to have two
/// before it.
pub const fn window_at(boottime_ns: u64) -> u32 {
    (boottime_ns / 1_000_000_000 / WINDOW_SECONDS as u64) as u32 + 2
}

/// Start of a window; `None` if it is out of the calendar's range.
pub fn begin_of(window: u32, now: Timestamp, boottime_ns: u64) -> Option<Timestamp> {
    let begin_ns = i128::from(window.checked_sub(2)?) * i128::from(WINDOW_SECONDS) * 1_000_000_000;
    let ago_ns = i128::from(boottime_ns) - begin_ns;
    Timestamp::from_nanosecond(now.as_nanosecond() - ago_ns).ok()
}

/// A remote address on a watched port, and its traffic since it was added to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkerFacts {
    /// The watched port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The remote address.
    pub address: IpAddr,
    /// Packets, indexed by [`Direction`].
    pub packets: [u64; 2],
    /// Frame bytes, likewise.
    pub bytes: [u64; 2],
    /// Window in which it was added.
    pub first_window: u32,
    /// Window in which it was last seen.
    pub last_window: u32,
}

impl TalkerFacts {
    /// Adds the counts of the same address on another CPU.
    pub fn add(&mut self, other: &Self) {
        for direction in Direction::ALL.map(|direction| direction as usize) {
            self.packets[direction] += other.packets[direction];
            self.bytes[direction] += other.bytes[direction];
        }
        self.first_window = self.first_window.min(other.first_window);
        self.last_window = self.last_window.max(other.last_window);
    }

    /// Sort key: most packets first, and a total order among equals.
    pub fn rank(&self) -> impl Ord + use<> {
        (Reverse(self.packets.iter().sum::<u64>()), self.port, self.protocol, self.address)
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::{sampling::hash_address, sources::Sketch};
    use proptest::prelude::*;

    use super::*;

    fn sketch_of(addresses: u64, seed: u64) -> Sketch {
        let mut sketch = Sketch::EMPTY;
        for address in 0..addresses {
            sketch.insert(hash_address([address, 0], seed));
        }
        sketch
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_estimate_is_accurate(addresses in 0_u64..200_000, seed: u64) {
            let estimate = sketch_of(addresses, seed).estimate() as f64;
            let error = (estimate - addresses as f64).abs();
            // Five times the standard error.
            prop_assert!(error <= 0.23 * addresses as f64 + 1.0, "{estimate} of {addresses}");
        }

        #[test]
        fn order_and_repetition_change_nothing(mut hashes in prop::collection::vec(any::<u64>(), 0..200)) {
            let sketch = |hashes: &[u64]| {
                let mut sketch = Sketch::EMPTY;
                hashes.iter().for_each(|hash| sketch.insert(*hash));
                sketch
            };
            let once = sketch(&hashes);
            hashes.extend(hashes.clone());
            hashes.reverse();
            prop_assert_eq!(sketch(&hashes), once);
        }
    }

    #[test]
    fn small_numbers_are_nearly_exact() {
        for addresses in [0, 1, 2, 5, 10] {
            let estimate = sketch_of(addresses, 0x5eed).estimate();
            assert!(estimate.abs_diff(addresses) <= addresses / 10, "{estimate} of {addresses}");
        }
    }

    #[test]
    fn millions_are_estimated_accurately() {
        let estimate = sketch_of(10_000_000, 0x5eed).estimate() as f64;
        assert!((estimate / 1e7 - 1.0).abs() < 0.15, "{estimate}");
    }

    #[test]
    fn windows_have_beginnings() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let boottime_ns = 250 * 1_000_000_000;
        let window = window_at(boottime_ns);
        assert_eq!(window, 4);
        let begin = begin_of(window, now, boottime_ns).expect("a time");
        assert_eq!(begin.as_second(), 1_000_000 - 50);
    }
}
