//! Userspace's settings of sampling and of sources.

use monitor_common::sampling::FlowKeys;

use crate::maps::SAMPLING;

/// The settings.
pub(crate) struct Control {
    /// Current window of time.
    pub(crate) window: u32,
    /// Keys of flow hashes.
    pub(crate) keys: FlowKeys,
}

impl Control {
    /// Reads them; `None` while userspace wants neither samples nor sources.
    #[inline(always)]
    pub(crate) fn read() -> Option<Self> {
        let (window, keys) = (Self::window(), Self::keys());
        (window != 0).then_some(Self { window, keys })
    }

    /// The window alone; 0 while userspace wants neither samples nor sources.
    #[inline(always)]
    pub(crate) fn window() -> u32 {
        // SAFETY: the section is of this type; userspace and other CPUs write single aligned words.
        unsafe { (&raw const (*SAMPLING.get()).window).read_volatile() }
    }

    /// The keys alone.
    #[inline(always)]
    pub(crate) fn keys() -> FlowKeys {
        // SAFETY: as in `window`.
        unsafe { (&raw const (*SAMPLING.get()).keys).read_volatile() }
    }

    /// Number of the budgets' last renewal.
    #[inline(always)]
    pub(crate) fn second() -> u32 {
        // SAFETY: as in `window`.
        unsafe { (&raw const (*SAMPLING.get()).second).read_volatile() }
    }

    /// Seed of address hashes.
    #[inline(always)]
    pub(crate) fn seed(&self) -> u64 {
        // SAFETY: as in `window`.
        unsafe { (&raw const (*SAMPLING.get()).seed).read_volatile() }
    }
}
