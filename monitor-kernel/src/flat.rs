//! The flat array of counters: places for interfaces, in one array whose size is fixed at load.
//!
//! A lookup in it costs the programs a few instructions. What it has no room for, further interfaces
//! and ports that are added later, is counted in arrays of single interfaces; a count is the sum of
//! both. A place is given out by one word, which the programs read for every packet, and is taken back
//! when every program has ended that may still use it.

use std::collections::BTreeSet;

use aya::maps::{Array, Map, MapData};
use monitor_common::{
    flat::FlatPlaces,
    flow::{PortCounters, SLOT_SIZE},
    limits::{MAX_FLAT_STRIDE, NEAR_INTERFACES},
};

use super::{
    map_error::{CountersError, take},
    mapped::MappedArray,
    sections::{FLAT_PLACES, FlatWords},
};

/// Name of the array in the object.
pub const FLAT_COUNTERS: &str = "FLAT_COUNTERS";

/// Bytes of the array that it has in any case: room for interfaces and ports that come later.
const LEAST_BYTES: usize = 192 * 1024;

/// Interfaces that this room is shared by at most.
const MAX_SPARE_PLACES: u32 = 16;

type Result<T> = std::result::Result<T, CountersError>;

/// Size of the flat array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatSize {
    /// Interfaces that have a place.
    pub places: u32,
    /// Port indices of each.
    pub port_indices: u32,
    /// Slots of each: possible CPUs.
    pub cpus: u32,
}

impl FlatSize {
    /// Room for these ports on these interfaces, and for more of both while they are few.
    pub fn of(ports: usize, interfaces: usize, cpus: u32) -> Self {
        const MAX_PORT_INDICES: u32 = 1 << 16;
        let slots = (LEAST_BYTES / SLOT_SIZE) as u32;
        // Index 0 is that of unclassified packets.
        let wanted = u32::try_from(ports + 1).unwrap_or(u32::MAX).min(MAX_PORT_INDICES);
        let spare = (slots / cpus / wanted).min(MAX_SPARE_PLACES);
        let interfaces = u32::try_from(interfaces).unwrap_or(u32::MAX);
        let places = interfaces.max(spare).clamp(1, (MAX_FLAT_STRIDE / cpus).max(1));
        let port_indices = (slots / cpus / places).clamp(wanted, MAX_PORT_INDICES);
        Self { places, port_indices, cpus }
    }

    /// Slots from one port index to the next.
    pub const fn stride(self) -> u32 {
        self.places * self.cpus
    }

    /// Slots in all.
    pub const fn slots(self) -> u32 {
        self.port_indices * self.stride()
    }
}

/// The flat array and who has a place in it.
pub struct FlatCounters {
    section: Array<MapData, FlatWords>,
    places: Box<FlatPlaces>,
    array: MappedArray<PortCounters>,
    cpus: u32,
}

impl FlatCounters {
    /// Takes the maps of a loaded object, which may be those of an earlier agent.
    pub fn open(object: &mut aya::Ebpf, cpus: u32) -> Result<Self> {
        let Map::Array(array) = take(object, FLAT_COUNTERS)? else {
            return Err(CountersError::Missing(FLAT_COUNTERS));
        };
        let section: Array<MapData, FlatWords> = Array::try_from(take(object, FLAT_PLACES)?)?;
        let places = Box::new(bytemuck::cast::<FlatWords, FlatPlaces>(section.get(&0, 0)?));
        Ok(Self { section, places, array: MappedArray::writable(array)?, cpus })
    }

    /// Interfaces that have a place, by index.
    pub fn interfaces(&self) -> impl Iterator<Item = u32> {
        self.places.given().map(|(ifindex, _)| ifindex)
    }

    /// Whether an interface has a place.
    pub fn has(&self, ifindex: u32) -> bool {
        self.places.base(ifindex).is_some()
    }

    /// Port indices below this have a slot for every interface with a place.
    pub fn port_indices(&self) -> u32 {
        self.array.len().checked_div(self.places.stride).unwrap_or(0)
    }

    /// The first slots of the places that nobody has.
    fn vacant(&self) -> impl Iterator<Item = u32> {
        let taken: BTreeSet<u32> = self.places.given().map(|(_, base)| base).collect();
        let bases = (0..self.places.stride).step_by(self.cpus as usize);
        bases.filter(move |base| !taken.contains(base))
    }

    /// Which of these interfaces, none of which has a place, would be given one.
    pub fn would_hold(&self, interfaces: impl Iterator<Item = u32>) -> BTreeSet<u32> {
        let near = interfaces.filter(|ifindex| *ifindex < NEAR_INTERFACES);
        near.zip(self.vacant()).map(|(ifindex, _)| ifindex).collect()
    }

    /// Gives an interface a place with counters that are zero. No effect if none is left.
    pub fn give(&mut self, ifindex: u32) -> Result<()> {
        let vacant = self.vacant().next();
        let Some(base) = vacant.filter(|_| ifindex < NEAR_INTERFACES && !self.has(ifindex)) else {
            return Ok(());
        };
        for index in 0..self.port_indices() {
            for cpu in 0..self.cpus {
                self.array.clear(index * self.places.stride + base + cpu);
            }
        }
        self.set(ifindex, Some(base))
    }

    /// Takes the place of an interface. The caller waits for the programs before the next is given.
    pub fn take(&mut self, ifindex: u32) -> Result<()> {
        if self.has(ifindex) { self.set(ifindex, None) } else { Ok(()) }
    }

    fn set(&mut self, ifindex: u32, base: Option<u32>) -> Result<()> {
        let mut places = self.places.clone();
        places.set(ifindex, base);
        self.section.set(0, bytemuck::cast::<FlatPlaces, FlatWords>(*places), 0)?;
        self.places = places;
        Ok(())
    }

    /// Adds a port's slots of all CPUs to `sum`.
    pub fn add_to(&self, ifindex: u32, port_index: u32, sum: &mut PortCounters) {
        let Some(base) = self.places.base(ifindex) else { return };
        if port_index >= self.port_indices() {
            return;
        }
        for cpu in 0..self.cpus {
            self.array.add_to(port_index * self.places.stride + base + cpu, sum);
        }
    }

    /// Bytes of the array.
    pub fn bytes(&self) -> u64 {
        u64::from(self.array.len()) * SLOT_SIZE as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_room_is_bounded() {
        for (ports, interfaces, cpus) in [(5, 8, 16), (1, 0, 1), (5, 2, 2), (40, 3, 4), (0, 1, 512)]
        {
            let size = FlatSize::of(ports, interfaces, cpus);
            let (wanted, places) = (ports as u32 + 1, (interfaces as u32).max(1));
            assert!(size.port_indices >= wanted && size.places >= places, "{size:?}");
            let least = wanted * places * cpus;
            assert!(size.slots() <= least.max((LEAST_BYTES / SLOT_SIZE) as u32), "{size:?}");
        }
    }

    #[test]
    fn all_ports_take_no_spare_room() {
        let size = FlatSize::of(65_535, 2, 4);
        assert_eq!((size.places, size.port_indices), (2, 65_536));
    }

    #[test]
    fn the_stride_fits() {
        let size = FlatSize::of(65_535, 1000, 512);
        assert!(size.stride() <= MAX_FLAT_STRIDE);
    }
}
