//! A reading of the two clocks that the ledger needs.

use jiff::Timestamp;

/// Both clocks, read at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall clock. It can be stepped, so it is used for timestamps and never for durations.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`, nanoseconds; the clock of the kernel's records.
    pub boottime_ns: u64,
}
