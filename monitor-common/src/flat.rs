//! Where the flat array of counters has an interface.
//!
//! Beside the arrays of single interfaces there is one array for many of them, whose size is fixed when
//! the programs are loaded: the verifier turns a lookup in it into a few instructions, where a lookup
//! in an array of an unknown size is a call. Port index *n* of the interface with the base *b* has the
//! slot of this CPU at `n * stride + b + cpu`. The ports, not the interfaces, are the outer dimension,
//! so that the end of the array is the end of the ports: one comparison finds both an interface
//! without a place and a port beyond the array.

use crate::limits::{MAX_FLAT_STRIDE, NEAR_INTERFACES};

/// What turns the base of an interface without a place, which is stored as 0, into an index that is
/// beyond every array.
const ABSENT: u32 = 1 << 31;
const _: () = assert!(MAX_FLAT_STRIDE << 16 <= ABSENT);

/// The places of interfaces in the flat array; the value of a variable of the object.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct FlatPlaces {
    /// Slots of one port index: those of all places, of every CPU; at most [`MAX_FLAT_STRIDE`].
    pub stride: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// By interface index, the first slot of the place, with a bit that says that there is one.
    pub bases: [u32; NEAR_INTERFACES as usize],
}

impl FlatPlaces {
    /// No interface has a place. All zero, as a section without contents has to be.
    pub const EMPTY: Self = Self { stride: 0, reserved: 0, bases: [0; NEAR_INTERFACES as usize] };

    /// Index of the slot of `port_index` on `cpu`, for an interface with this word in
    /// [`Self::bases`](Self). Beyond the array if the interface has no place.
    #[inline(always)]
    pub const fn slot_index(stride: u32, base: u32, port_index: u32, cpu: u32) -> u32 {
        port_index.wrapping_mul(stride).wrapping_add(base ^ ABSENT).wrapping_add(cpu)
    }

    /// The first slot of the place that an interface has.
    pub fn base(&self, ifindex: u32) -> Option<u32> {
        let base = *self.bases.get(ifindex as usize)?;
        (base & ABSENT != 0).then_some(base & !ABSENT)
    }

    /// Every interface that has a place, and its first slot.
    pub fn given(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..NEAR_INTERFACES).filter_map(|ifindex| Some((ifindex, self.base(ifindex)?)))
    }

    /// Gives an interface the place with this first slot, or takes it. An interface whose index is
    /// too large for a place has none.
    pub fn set(&mut self, ifindex: u32, base: Option<u32>) {
        if let Some(word) = self.bases.get_mut(ifindex as usize) {
            *word = base.map_or(0, |base| base | ABSENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interface_with_a_place_has_slots() {
        let mut places = FlatPlaces { stride: 8, ..FlatPlaces::EMPTY };
        places.set(3, Some(6));
        places.set(7, Some(0));
        places.set(NEAR_INTERFACES, Some(2));
        assert!(places.given().eq([(3, 6), (7, 0)]));
        places.set(7, None);
        assert_eq!(
            (places.base(3), places.base(7), places.base(NEAR_INTERFACES)),
            (Some(6), None, None)
        );
        assert_eq!(FlatPlaces::slot_index(places.stride, places.bases[3], 5, 1), 5 * 8 + 6 + 1);
    }

    #[test]
    fn an_absent_interface_is_beyond_the_largest_array() {
        let largest = MAX_FLAT_STRIDE << 16;
        for (port_index, cpu) in [(0, 0), (1, 0), (u16::MAX.into(), MAX_FLAT_STRIDE - 1)] {
            let index = FlatPlaces::slot_index(MAX_FLAT_STRIDE, 0, port_index, cpu);
            assert!(index >= largest, "{port_index} {cpu}");
        }
    }
}
