//! The outer maps, by which programs find the array of an interface.

use aya::maps::{ArrayOfMaps, HashOfMaps, MapData, MapError};
use monitor_common::{flow::PortCounters, limits::NEAR_INTERFACES};

use super::{
    map_error::{CountersError, take},
    mapped::MappedArray,
};

type Result<T> = std::result::Result<T, CountersError>;

/// The outer maps, by which programs find the array of an interface: indexed, or hashed for a large
/// index.
pub struct OuterMaps {
    near: ArrayOfMaps<MapData, MapData>,
    far: HashOfMaps<MapData, u32, MapData>,
    /// Replaces an array that is to be freed.
    nothing: MappedArray<PortCounters>,
}

impl OuterMaps {
    /// Takes the maps of a loaded object, which may be those of an earlier agent.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        Ok(Self {
            near: ArrayOfMaps::try_from(take(object, "NEAR_COUNTERS")?)?,
            far: HashOfMaps::try_from(take(object, "COUNTERS")?)?,
            nothing: MappedArray::create("GHOST_NOTHING", 1)?,
        })
    }

    /// Returns when every program has ended that runs now: an exchange of an inner map waits for that
    /// (`maybe_wait_bpf_programs` of `kernel/bpf/syscall.c`). No interface has index 0.
    pub fn wait_for_programs(&mut self) -> Result<()> {
        Ok(self.near.set(0, self.nothing.map_data(), 0)?)
    }

    /// Puts an array in force. Returns when no program uses the previous one.
    pub fn put(&mut self, ifindex: u32, array: &MapData) -> Result<()> {
        if ifindex < NEAR_INTERFACES {
            self.near.set(ifindex, array, 0)?;
        } else {
            self.far.insert(ifindex, array, 0)?;
        }
        Ok(())
    }

    /// Takes the array of an interface out of force.
    pub fn remove(&mut self, ifindex: u32) -> Result<()> {
        if ifindex < NEAR_INTERFACES {
            return Ok(self.near.set(ifindex, self.nothing.map_data(), 0)?);
        }
        match self.far.remove(&ifindex) {
            Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
