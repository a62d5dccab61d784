//! A point in time on the two clocks that the ledger needs.

use jiff::Timestamp;

/// A point in time, read from both clocks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time of day. It can be set at will, so timestamps alone are taken from it, never durations.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`, nanoseconds: what the kernel side stamps its events with.
    pub boottime_ns: u64,
}
