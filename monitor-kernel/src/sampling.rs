//! Settings of sampling in the kernel side, and the remote addresses that it has recorded.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use aya::maps::{Array, Map, MapData, MapError};
use monitor_common::{
    flow::Protocol,
    limits::{LEAST_SKETCHED_PORTS, MOST_SKETCHED_PORTS, SAMPLES_PER_SECOND, SOURCE_WINDOWS},
    sample::SkipCause,
    sampling::{AddressWords, FlowKeys, SamplingControl, address_bytes, ip_address},
    sources::{Sketch, Talker, TalkerKey, TalkerSet, sketch_index, talker_set_count},
};

use super::{
    map_error::{CountersError, take},
    sections::{SAMPLING, SamplingWords},
};
use crate::{
    clock,
    snapshot::{PortSketch, PortSources},
    sources::{TalkerFacts, window_at},
};

type Result<T> = std::result::Result<T, CountersError>;

/// [`Sketch`] as a map value.
type SketchWords = [u64; 64];
/// [`TalkerSet`] as a map value.
type TalkerWords = [u64; 16];

/// The maps behind sampling and sources.
pub struct Sampling {
    cpus: u32,
    control: Array<MapData, SamplingWords>,
    skipped: Array<MapData, [u64; SkipCause::COUNT]>,
    sketches: Array<MapData, SketchWords>,
    /// Number of sketches.
    sketch_count: u32,
    talkers: Array<MapData, TalkerWords>,
}

/// Number of port indices with sketches, if this many ports are watched.
pub fn sketched_ports(ports: usize) -> u32 {
    // Index 0 is not used.
    let wanted = u32::try_from(ports).unwrap_or(u32::MAX).saturating_add(1);
    wanted.clamp(LEAST_SKETCHED_PORTS, MOST_SKETCHED_PORTS).next_power_of_two()
}

impl Sampling {
    /// Takes the maps of a loaded object, which may be those of an earlier agent.
    pub fn open(object: &mut aya::Ebpf, cpus: u32) -> Result<Self> {
        let sketches = take(object, "SOURCES")?;
        let mut sampling = Self {
            cpus,
            control: Array::try_from(take(object, SAMPLING)?)?,
            skipped: Array::try_from(take(object, "SKIPPED_SAMPLES")?)?,
            sketch_count: capacity(&sketches)?,
            sketches: Array::try_from(sketches)?,
            talkers: Array::try_from(take(object, "TALKERS")?)?,
        };
        let mut control = sampling.control()?;
        if control.seed == 0 {
            // The standard library seeds its hash tables with random bytes of the system.
            control.seed = RandomState::new().hash_one(clock::boottime_ns()) | 1;
            control.keys = FlowKeys::of_seed(control.seed);
            sampling.set_control(control)?;
        }
        Ok(sampling)
    }

    /// What addresses are hashed with.
    pub fn seed(&self) -> Result<u64> {
        Ok(self.control()?.seed)
    }

    /// Hashes addresses with this seed from now on. No program may have used another one.
    pub fn set_seed(&mut self, seed: u64) -> Result<()> {
        let control = self.control()?;
        // 0 is of a map that has none.
        let seed = seed | 1;
        self.set_control(SamplingControl { seed, keys: FlowKeys::of_seed(seed), ..control })
    }

    /// Opens the next window when the current one has ended, begins the next generation of sums, and
    /// grants the samples of another second, or none.
    pub fn renew(&mut self, captures: bool) -> Result<()> {
        let mut control = self.control()?;
        let window = window_at(clock::boottime_ns());
        self.clear_windows(control.window, window)?;
        control.window = window;
        control.second = control.second.wrapping_add(1);
        control.budgets = if captures { SAMPLES_PER_SECOND } else { Default::default() };
        self.set_control(control)
    }

    /// The generation of sums that programs add to.
    pub fn generation(&self) -> Result<u32> {
        Ok(self.control()?.second)
    }

    /// Disables samples and sources.
    pub fn end(&mut self) -> Result<()> {
        let control = self.control()?;
        self.set_control(SamplingControl { window: 0, budgets: Default::default(), ..control })
    }

    /// Empties the sketches of the windows after `last`, up to `now`.
    fn clear_windows(&mut self, last: u32, now: u32) -> Result<()> {
        let first = (last + 1).max(now.saturating_sub(SOURCE_WINDOWS - 1));
        for window in first..=now {
            let of_window =
                (window % SOURCE_WINDOWS..self.sketch_count).step_by(SOURCE_WINDOWS as usize);
            for index in of_window {
                self.sketches.set(index, [0; 64], 0)?;
            }
        }
        Ok(())
    }

    /// Number of remote addresses on each of these ports that has a sketch. Ports come with their
    /// indices.
    pub fn sources(&self, ports: impl Iterator<Item = (u16, u16)>) -> Result<Vec<PortSources>> {
        let mut rows = Vec::new();
        for (port, index) in ports {
            for protocol in Protocol::COMMON {
                if sketch_index(index.into(), protocol, SOURCE_WINDOWS - 1) >= self.sketch_count {
                    continue;
                }
                let addresses = self.addresses(index.into(), protocol)?;
                rows.push(PortSources { port, protocol, addresses });
            }
        }
        Ok(rows)
    }

    fn addresses(&self, index: u32, protocol: Protocol) -> Result<u64> {
        let mut all: Option<Sketch> = None;
        for window in 0..SOURCE_WINDOWS {
            let words = self.sketches.get(&sketch_index(index, protocol, window), 0)?;
            // Nearly all sketches are empty.
            if words != [0; 64] {
                all.get_or_insert(Sketch::EMPTY).merge(&bytemuck::cast(words));
            }
        }
        Ok(all.as_ref().map_or(0, Sketch::estimate))
    }

    /// The sketches of these ports that are not empty, with the windows that they are of. Ports come with
    /// their indices.
    pub fn sketches(&self, ports: impl Iterator<Item = (u16, u16)>) -> Result<Vec<PortSketch>> {
        let now = self.control()?.window;
        let windows = now.saturating_sub(SOURCE_WINDOWS - 1)..=now;
        let mut rows = Vec::new();
        for (port, index) in ports {
            for protocol in Protocol::COMMON {
                for window in windows.clone() {
                    let place = sketch_index(index.into(), protocol, window);
                    if place >= self.sketch_count {
                        continue;
                    }
                    let words = self.sketches.get(&place, 0)?;
                    if words != [0; 64] {
                        let sketch = Box::new(bytemuck::cast(words));
                        rows.push(PortSketch { port, protocol, window, sketch });
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The remote addresses with most packets on all ports, most packets first.
    pub fn talkers(&self) -> Result<Vec<TalkerFacts>> {
        let now = self.control()?.window;
        let mut talkers: HashMap<(AddressWords, u32), TalkerFacts> = HashMap::new();
        let sets: std::result::Result<Vec<TalkerWords>, _> =
            (0..talker_set_count(self.cpus)).map(|set| self.talkers.get(&set, 0)).collect();
        for row in sets?.into_iter().flat_map(bytemuck::cast::<TalkerWords, TalkerSet>) {
            if row.key == 0 || now.wrapping_sub(row.last_window) >= SOURCE_WINDOWS {
                continue;
            }
            let Some(facts) = facts(&row) else { continue };
            talkers
                .entry((row.address, row.key))
                .and_modify(|sum| sum.add(&facts))
                .or_insert(facts);
        }
        let mut talkers: Vec<TalkerFacts> = talkers.into_values().collect();
        talkers.sort_by_key(TalkerFacts::rank);
        Ok(talkers)
    }

    /// Samples that were not taken, indexed by [`SkipCause`].
    pub fn skipped(&self) -> Result<[u64; SkipCause::COUNT]> {
        let mut sum = [0; SkipCause::COUNT];
        for cpu in 0..self.cpus {
            let counts = self.skipped.get(&cpu, 0)?;
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(sum)
    }

    fn control(&self) -> std::result::Result<SamplingControl, MapError> {
        self.control.get(&0, 0).map(bytemuck::cast)
    }

    fn set_control(&mut self, control: SamplingControl) -> Result<()> {
        Ok(self.control.set(0, bytemuck::cast::<SamplingControl, SamplingWords>(control), 0)?)
    }
}

/// Entries of a map, which may be an earlier agent's, with another size than in the object.
fn capacity(map: &Map) -> Result<u32> {
    match map {
        Map::Array(map) => Ok(map.info()?.max_entries()),
        _ => Err(CountersError::Missing("SOURCES")),
    }
}

/// The facts of a row; `None` for an invalid row.
fn facts(row: &Talker) -> Option<TalkerFacts> {
    let TalkerKey { port, protocol, family } = TalkerKey::of(row.key)?;
    let address = ip_address(family, address_bytes(row.address))?;
    let Talker { packets, bytes, first_window, last_window, .. } = *row;
    Some(TalkerFacts { port, protocol, address, packets, bytes, first_window, last_window })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_are_bounded() {
        assert_eq!(sketched_ports(1), 8);
        assert_eq!(sketched_ports(7), 8);
        assert_eq!(sketched_ports(8), 16);
        assert_eq!(sketched_ports(65_535), 128);
    }
}
