//! Reading kernel memory: by a helper, or by loads.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use monitor_common::offsets::MISSING;

use crate::bounds::masked;

/// A way to read kernel memory. A member at an unknown offset is unknown.
pub(crate) trait Access {
    /// See [`Self::part`].
    type Part<const WORDS: usize>: Part;

    /// Reads a member of a struct.
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T>;

    /// Reads a member of a struct, which may be null.
    fn known<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T>;

    /// Prepares to read words of a struct from the offset `base` on, a multiple of their size.
    fn part<const WORDS: usize>(structure: *const c_void, base: u32) -> Self::Part<WORDS>;
}

/// Members of a struct, of which adjacent ones are read together.
pub(crate) trait Part {
    /// Reads the adjacent members into `self`, because the stack is small; false on failure.
    fn read(&mut self) -> bool;

    /// A member at an offset from the start of the struct.
    fn known<T: Copy + Default>(&self, offset: u32) -> Known<T>;

    /// The same, for a member that the caller requires.
    #[inline(always)]
    fn member<T: Copy + Default>(&self, offset: u32) -> Option<T> {
        let known = self.known(offset);
        (known.flag(1) != 0).then_some(known.value)
    }
}

/// A member of a kernel struct, zero if it is unknown.
///
/// For values that are stored whether or not they are known. [`Probed`] reads them without a branch:
/// each branch doubles the paths that the verifier walks, and before Linux 6.5 the verifier merges
/// few of them. An `Option` does not serve: the compiler copies the uninitialized bytes of `None`,
/// which the verifier rejects before Linux 6.3.
#[derive(Clone, Copy)]
pub(crate) struct Known<T> {
    pub(crate) value: T,
    /// [`ALL_FLAGS`], or none.
    mask: u32,
}

impl<T: Copy> Known<T> {
    /// `bit` if the value is known.
    #[inline(always)]
    pub(crate) fn flag(&self, bit: u32) -> u32 {
        self.mask & bit
    }
}

/// The mask of a value that is known.
const ALL_FLAGS: u32 = i32::MAX as u32;

/// Reads by a helper, which checks the address; available to every program.
pub(crate) struct Probed;

impl Access for Probed {
    type Part<const WORDS: usize> = Copied<WORDS>;

    #[inline(always)]
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
        if offset == MISSING || structure.is_null() {
            return None;
        }
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(structure.byte_add(offset as usize).cast()) }.ok()
    }

    #[inline(always)]
    fn known<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T> {
        let mut value = T::default();
        if offset == MISSING {
            return Known { value, mask: 0 };
        }
        let at = structure.wrapping_byte_add(offset as usize);
        // SAFETY: the helper checks the address, and fills the value with zeros where it cannot
        // read.
        let error = unsafe {
            generated::bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, at)
        };
        // Opaque to the compiler, which would branch on a value that is one of two numbers.
        let mask = masked::<ALL_FLAGS>(!(error >> 63) as u64);
        Known { value, mask: mask as u32 }
    }

    #[inline(always)]
    fn part<const WORDS: usize>(structure: *const c_void, base: u32) -> Copied<WORDS> {
        Copied { structure, base, words: [0; WORDS] }
    }
}

/// Words of a struct, copied by one call of the helper, which costs the same for one word.
pub(crate) struct Copied<const WORDS: usize> {
    structure: *const c_void,
    base: u32,
    words: [u64; WORDS],
}

impl<const WORDS: usize> Part for Copied<WORDS> {
    #[inline(always)]
    fn read(&mut self) -> bool {
        let at = self.structure.wrapping_byte_add(self.base as usize);
        let len = size_of::<[u64; WORDS]>() as u32;
        // SAFETY: the helper checks the address, and `words` has room for as many.
        unsafe { generated::bpf_probe_read_kernel(self.words.as_mut_ptr().cast(), len, at) == 0 }
    }

    /// The branch costs the verifier nothing: it knows the offset.
    #[inline(always)]
    fn known<T: Copy + Default>(&self, offset: u32) -> Known<T> {
        let at = offset.wrapping_sub(self.base) as usize;
        let end = size_of::<[u64; WORDS]>() - size_of::<T>();
        if at > end || !at.is_multiple_of(align_of::<T>()) {
            return Probed::known(self.structure, offset);
        }
        // SAFETY: the value lies within the words, at a place that is aligned for it.
        let value = unsafe { self.words.as_ptr().byte_add(at).cast::<T>().read_volatile() };
        Known { value, mask: ALL_FLAGS }
    }
}

/// Reads by a load: for a trampoline's arguments and the structs that loads reach from them, whose
/// types the verifier knows. Where the verifier cannot prove the address valid, a load at an invalid
/// address yields 0 (`BPF_PROBE_MEM`) and does not fault.
pub(crate) struct Typed;

impl Access for Typed {
    type Part<const WORDS: usize> = InPlace;

    #[inline(always)]
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
        if offset == MISSING || structure.is_null() {
            return None;
        }
        // SAFETY: the verifier rejects the program unless a value of this size is there.
        Some(unsafe { structure.byte_add(offset as usize).cast::<T>().read_volatile() })
    }

    #[inline(always)]
    fn known<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T> {
        match Self::member(structure, offset) {
            Some(value) => Known { value, mask: ALL_FLAGS },
            None => Known { value: T::default(), mask: 0 },
        }
    }

    #[inline(always)]
    fn part<const WORDS: usize>(structure: *const c_void, _base: u32) -> InPlace {
        InPlace(structure)
    }
}

/// A struct that is read in place.
pub(crate) struct InPlace(*const c_void);

impl Part for InPlace {
    #[inline(always)]
    fn read(&mut self) -> bool {
        !self.0.is_null()
    }

    #[inline(always)]
    fn known<T: Copy + Default>(&self, offset: u32) -> Known<T> {
        Typed::known(self.0, offset)
    }
}
