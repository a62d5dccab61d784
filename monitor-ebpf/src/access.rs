//! How memory of the kernel is read: by a helper, or by loads.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use monitor_common::offsets::MISSING;

use crate::bounds::masked;

/// A way to read kernel memory. What is asked for at an offset that is not known is not known.
pub(crate) trait Access {
    /// See [`Self::part`].
    type Part<const WORDS: usize>: Part;

    /// Reads a member of a struct.
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T>;

    /// Reads a member of a struct, which may be null.
    fn known<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T>;

    /// Words of a struct from the offset `base` on, which is a multiple of their size, to be read.
    fn part<const WORDS: usize>(structure: *const c_void, base: u32) -> Self::Part<WORDS>;
}

/// Members of a struct that lie together and are read together, and any others.
pub(crate) trait Part {
    /// Reads them; false if they cannot be read. Where they are, because there is little stack.
    fn read(&mut self) -> bool;

    /// A member at an offset from the begin of the struct.
    fn known<T: Copy + Default>(&self, offset: u32) -> Known<T>;

    /// The same, for what nothing is done without.
    #[inline(always)]
    fn member<T: Copy + Default>(&self, offset: u32) -> Option<T> {
        let known = self.known(offset);
        (known.flag(1) != 0).then_some(known.value)
    }
}

/// A member of a kernel struct that may not be there, and is zero then.
///
/// For what is stored whether or not it is known. [`Probed`] takes no branch for it: each doubles
/// the paths that the verifier walks, and before Linux 6.5 it recognises few of them as the same.
/// And of an empty `Option` the compiler copies what it never wrote, which the verifier forbids
/// before Linux 6.3.
#[derive(Clone, Copy)]
pub(crate) struct Known<T> {
    pub(crate) value: T,
    /// All bits, or none.
    mask: u16,
}

impl<T: Copy> Known<T> {
    /// `bit` if the value is known.
    #[inline(always)]
    pub(crate) fn flag(&self, bit: u16) -> u16 {
        self.mask & bit
    }
}

/// By a helper, which checks the address: for every program.
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
        // What the compiler knew to be one of two numbers would become a branch.
        let mask = masked::<{ u16::MAX as u32 }>(!(error >> 63) as u64);
        Known { value, mask: mask as u16 }
    }

    #[inline(always)]
    fn part<const WORDS: usize>(structure: *const c_void, base: u32) -> Copied<WORDS> {
        Copied { structure, base, words: [0; WORDS] }
    }
}

/// Words of a struct that were copied, and where from: a helper costs the same for one as for all.
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
        // SAFETY: the helper checks the address, and there is room for as much.
        unsafe { generated::bpf_probe_read_kernel(self.words.as_mut_ptr().cast(), len, at) == 0 }
    }

    /// Which way it goes is known to the verifier, as the offset is.
    #[inline(always)]
    fn known<T: Copy + Default>(&self, offset: u32) -> Known<T> {
        let at = offset.wrapping_sub(self.base) as usize;
        let end = size_of::<[u64; WORDS]>() - size_of::<T>();
        if at > end || !at.is_multiple_of(align_of::<T>()) {
            return Probed::known(self.structure, offset);
        }
        // SAFETY: the value lies within the words, at a place that is aligned for it.
        let value = unsafe { self.words.as_ptr().byte_add(at).cast::<T>().read_volatile() };
        Known { value, mask: u16::MAX }
    }
}

/// By a load: for what a trampoline is given, and what is reached from there by loads, of which the
/// verifier knows the type. Where it does not vouch for the address, a load at a bad one finds 0
/// (`BPF_PROBE_MEM`), never a fault.
pub(crate) struct Typed;

impl Access for Typed {
    type Part<const WORDS: usize> = InPlace;

    #[inline(always)]
    fn member<T: Copy>(structure: *const c_void, offset: u32) -> Option<T> {
        if offset == MISSING || structure.is_null() {
            return None;
        }
        // SAFETY: the verifier refuses the program unless a value of this size is there.
        Some(unsafe { structure.byte_add(offset as usize).cast::<T>().read_volatile() })
    }

    #[inline(always)]
    fn known<T: Copy + Default>(structure: *const c_void, offset: u32) -> Known<T> {
        match Self::member(structure, offset) {
            Some(value) => Known { value, mask: u16::MAX },
            None => Known { value: T::default(), mask: 0 },
        }
    }

    #[inline(always)]
    fn part<const WORDS: usize>(structure: *const c_void, _base: u32) -> InPlace {
        InPlace(structure)
    }
}

/// A struct that is read where it is.
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
