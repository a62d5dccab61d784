//! Userspace's settings of sampling and of sources.

use monitor_common::sampling::FlowKeys;

use crate::maps::SAMPLING;

/// The settings.
pub(crate) struct Control {
    /// Current window of time.
    pub(crate) window: u32,
    /// Seed of address hashes.
    pub(crate) seed: u64,
    /// Keys of flow hashes.
    pub(crate) keys: FlowKeys,
}

impl Control {
    /// Reads them; `None` while userspace wants neither samples nor sources.
    #[inline(always)]
    pub(crate) fn read() -> Option<Self> {
        let control = SAMPLING.get();
        // SAFETY: the section is of this type; userspace and other CPUs write single aligned words.
        let (window, seed, keys) = unsafe {
            (
                (&raw const (*control).window).read_volatile(),
                (&raw const (*control).seed).read_volatile(),
                (&raw const (*control).keys).read_volatile(),
            )
        };
        (window != 0).then_some(Self { window, seed, keys })
    }
}
