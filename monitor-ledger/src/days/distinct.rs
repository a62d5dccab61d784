//! How many different addresses there were, by sketches of the kernel side.

use std::collections::BTreeMap;

use monitor_common::sources::Sketch;

/// Seeds of which sketches are kept.
pub(super) const MOST_SEEDS: usize = 2;

/// Which seed the addresses were hashed with. Sketches of different seeds cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeedTag(pub u32);

impl SeedTag {
    /// The tag of a seed, which stays secret: others could choose addresses that fool a sketch.
    pub const fn of(seed: u64) -> Self {
        let mixed = (seed ^ seed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((mixed >> 32) as u32)
    }
}

/// Sketches of addresses, one for each seed. The agent keeps its seed beside the history, so that there
/// is nearly always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct(BTreeMap<SeedTag, Box<Sketch>>);

impl Distinct {
    /// Adds the addresses of a sketch.
    pub fn add(&mut self, seed: SeedTag, sketch: &Sketch) {
        self.0.entry(seed).or_insert_with(|| Box::new(Sketch::EMPTY)).merge(sketch);
        while self.0.len() > MOST_SEEDS {
            // Always the same one, in whatever order they came.
            self.0.pop_first();
        }
    }

    /// Adds the addresses of another.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(seed, sketch)| self.add(*seed, sketch));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Estimated number of addresses. One that was hashed with two seeds counts twice.
    pub fn estimate(&self) -> u64 {
        self.0.values().map(|sketch| sketch.estimate()).sum()
    }

    pub(super) fn sketches(&self) -> impl Iterator<Item = (SeedTag, &Sketch)> {
        self.0.iter().map(|(seed, sketch)| (*seed, &**sketch))
    }
}
