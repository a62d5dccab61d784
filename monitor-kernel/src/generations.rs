//! Counter arrays of growing size: each owner has one array in use, and earlier ones that stay to be
//! read.

use bytemuck::{Pod, Zeroable};
use monitor_common::flow::{PortCounters, slot_index};

use super::{
    mapped::{MappedArray, MappedError},
    topology::Role,
};

/// The arrays of one owner.
#[derive(Debug)]
pub struct Generations<T> {
    /// From the oldest to the one in use.
    pub arrays: Vec<MappedArray<T>>,
    /// Number of the last array in its pin.
    pub last: u32,
}

/// Counters of one interface.
#[derive(Debug)]
pub struct InterfaceCounters {
    /// Name of the interface.
    pub name: String,
    /// Its role among the watched interfaces.
    pub role: Role,
    /// Its arrays.
    pub counters: Generations<PortCounters>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { arrays: Vec::new(), last: 0 }
    }
}

impl<T: Pod + Zeroable> Generations<T> {
    /// Adds a pinned array; `generation` is its number in the pin.
    pub fn adopt(&mut self, array: MappedArray<T>, generation: &str) {
        self.last = self.last.max(generation.parse().unwrap_or(0));
        self.arrays.push(array);
    }

    /// Adds a new array.
    pub fn push(&mut self, array: MappedArray<T>, generation: u32) {
        self.arrays.push(array);
        self.last = generation;
    }

    /// A larger array, if the newest has no room for `indices` indices. The first has the exact size,
    /// each later one at least the double, so that there are few.
    pub fn larger(
        &self,
        name: &str,
        indices: u32,
        slots: impl Fn(u32) -> u32,
    ) -> Result<Option<MappedArray<T>>, MappedError> {
        const MAX_INDICES: u32 = 1 << 16;
        let len = self.arrays.last().map_or(0, MappedArray::len);
        if len >= slots(indices) {
            return Ok(None);
        }
        let wanted = slots(indices).max((len * 2).min(slots(MAX_INDICES)));
        Ok(Some(MappedArray::create(name, wanted)?))
    }

    /// Sum of a record over the arrays.
    pub fn sum(&self, index: u32) -> T {
        let mut sum = T::zeroed();
        for array in self.arrays.iter().filter(|array| index < array.len()) {
            array.add_to(index, &mut sum);
        }
        sum
    }

    /// Bytes of all arrays.
    pub fn bytes(&self) -> u64 {
        self.arrays.iter().map(|array| u64::from(array.len()) * size_of::<T>() as u64).sum()
    }
}

impl InterfaceCounters {
    /// Without name and arrays.
    pub fn unnamed() -> Self {
        Self { name: String::new(), role: Role::default(), counters: Generations::default() }
    }

    /// Sum of a port's slots over CPUs and generations.
    pub fn sum(&self, index: u16, cpus: u32) -> PortCounters {
        let mut sum = PortCounters::zeroed();
        for array in &self.counters.arrays {
            for cpu in 0..cpus {
                let slot = slot_index(index.into(), cpu, cpus);
                if slot < array.len() {
                    array.add_to(slot, &mut sum);
                }
            }
        }
        sum
    }
}
