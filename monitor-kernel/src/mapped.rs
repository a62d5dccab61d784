//! Counter arrays that are read in place: the agent maps the kernel's pages, so that a scrape needs
//! neither a system call nor a copy.

use std::{
    marker::PhantomData,
    os::fd::AsFd as _,
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{MapData, MapError};
use bytemuck::{Pod, Zeroable};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// `BPF_MAP_TYPE_ARRAY`, `include/uapi/linux/bpf.h`.
const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`: the flags of the template in the kernel side's `maps.rs`.
const FLAGS: u32 = 1 << 10 | 1 << 12;

/// An array map whose records consist of 64-bit counters.
#[derive(Debug)]
pub struct MappedArray<T> {
    map: MapData,
    memory: NonNull<AtomicU64>,
    access: ProtFlags,
    /// Bytes mapped.
    size: usize,
    len: u32,
    records: PhantomData<T>,
}

// SAFETY: the kernel shares the memory too; all access is through atomics.
unsafe impl<T> Send for MappedArray<T> {}

/// Why a counter array cannot be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum MappedError {
    /// The map itself.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Its memory.
    #[error("cannot map a counter array: {0}")]
    Memory(#[from] rustix::io::Errno),
    /// A pinned map with another layout than its name implies.
    #[error("a pinned counter array has records of {found} bytes instead of {expected}")]
    Layout {
        /// Size in the pinned map.
        found: u32,
        /// Size that the programs use.
        expected: usize,
    },
}

impl<T: Pod + Zeroable> MappedArray<T> {
    /// Creates an array of `len` zeroed records.
    pub fn create(name: &str, len: u32) -> Result<Self, MappedError> {
        let object = aya_obj::Map::new_from_params(ARRAY, 4, size_of::<T>() as u32, len, FLAGS);
        Self::map(MapData::create(object, name, None)?, ProtFlags::READ)
    }

    /// Opens a pinned array.
    pub fn from_pin(path: &Path) -> Result<Self, MappedError> {
        Self::map(MapData::from_pin(path)?, ProtFlags::READ)
    }

    /// Opens an array of a loaded object, whose records can be cleared.
    pub fn writable(map: MapData) -> Result<Self, MappedError> {
        Self::map(map, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn map(map: MapData, access: ProtFlags) -> Result<Self, MappedError> {
        let info = map.info()?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(MappedError::Layout { found: info.value_size(), expected: size_of::<T>() });
        }
        let len = info.max_entries();
        let size = (len as usize * size_of::<T>()).next_multiple_of(rustix::param::page_size());
        let fd = map.fd().as_fd();
        // SAFETY: a fresh mapping of the map's own pages, which live as long as it.
        let memory = unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, fd, 0)? };
        let memory = NonNull::new(memory.cast()).ok_or(rustix::io::Errno::INVAL)?;
        Ok(Self { map, memory, access, size, len, records: PhantomData })
    }

    /// Records in the array.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The map behind the memory.
    pub fn map_data(&self) -> &MapData {
        &self.map
    }

    /// Sets the counters of record `index` of a writable array to zero. No program may use it.
    pub fn clear(&mut self, index: u32) {
        assert!(self.access.contains(ProtFlags::WRITE), "an array that is only read");
        for word in self.record(index) {
            // Pages that were never touched stay so.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Adds the counters of record `index` to `sum`. Each counter is read whole; counters of one
    /// record may be a few packets apart.
    pub fn add_to(&self, index: u32, sum: &mut T) {
        let sum: &mut [u64] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(sum));
        for (sum, word) in sum.iter_mut().zip(self.record(index)) {
            *sum += word.load(Ordering::Relaxed);
        }
    }

    /// The words of record `index`.
    fn record(&self, index: u32) -> impl Iterator<Item = &AtomicU64> {
        assert!(index < self.len, "record {index} of {}", self.len);
        let words = size_of::<T>() / size_of::<u64>();
        let first = index as usize * words;
        // SAFETY: the index was checked, and the mapping covers every record of the map.
        (first..first + words).map(|word| unsafe { self.memory.add(word).as_ref() })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: `map` created the mapping, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.size) };
    }
}
