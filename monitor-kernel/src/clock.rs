//! Conversion of the kernel's clocks to the time of day.

use std::fs;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time_namespace::clock_shift;

/// The wall clock is read between two readings of the other clock; the error is at most half of the
/// distance between them. Of this many attempts the one with the shortest distance counts.
const READINGS: usize = 3;

/// The clock of the kernel side's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClock {
    /// `CLOCK_BOOTTIME`, Linux 5.8 and later.
    Boottime,
    /// `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    Monotonic,
}

impl EventClock {
    /// The time of day minus this clock, now; nanoseconds.
    ///
    /// Changes when the time of day is set, and for a clock that stands still, with a suspend. The
    /// clock is the kernel's, whatever time namespace this process is in.
    pub fn offset_to_wall_clock_ns(self) -> i128 {
        let shift = clock_shift().unwrap_or_default();
        let (id, shift_ns) = match self {
            Self::Boottime => (ClockId::Boottime, shift.boottime_ns),
            Self::Monotonic => (ClockId::Monotonic, shift.monotonic_ns),
        };
        let readings = (0..READINGS).map(|_| {
            let before = nanoseconds(clock_gettime(id));
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = nanoseconds(clock_gettime(id));
            (after - before, wall - (before + after) / 2)
        });
        readings.min().map_or(0, |(_, offset)| offset + shift_ns)
    }
}

/// An offset that changes only when the time of day is set: two measurements differ by some
/// nanoseconds, and the start time of a process must not.
#[derive(Clone, Copy, Debug)]
pub struct SteadyOffset {
    clock: EventClock,
    offset_ns: i128,
}

impl SteadyOffset {
    /// Tolerated difference of two measurements; most differ by much less.
    const TOLERANCE_NS: u128 = 100_000;

    /// The offset now.
    pub fn new(clock: EventClock) -> Self {
        Self { clock, offset_ns: clock.offset_to_wall_clock_ns() }
    }

    /// The time of day minus the clock; nanoseconds.
    pub fn to_wall_clock_ns(&mut self) -> i128 {
        let offset_ns = self.clock.offset_to_wall_clock_ns();
        if offset_ns.abs_diff(self.offset_ns) > Self::TOLERANCE_NS {
            self.offset_ns = offset_ns;
        }
        self.offset_ns
    }
}

/// `CLOCK_BOOTTIME` of the kernel now, nanoseconds: that of the first time namespace.
pub fn boottime_ns() -> u64 {
    let shift_ns = clock_shift().unwrap_or_default().boottime_ns;
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime)) - shift_ns).unwrap_or(0)
}

/// Id of this boot of the kernel; empty if `/proc` has none.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_yields_the_time_of_day() {
        for clock in [EventClock::Boottime, EventClock::Monotonic] {
            let offset = clock.offset_to_wall_clock_ns();
            // Later than this test was written, and the machine was not booted before 1970.
            assert!(offset > 0, "{clock:?}: {offset}");
            let drift = (clock.offset_to_wall_clock_ns() - offset).abs();
            assert!(drift < 1_000_000_000, "{clock:?}: {drift}");
        }
    }

    #[test]
    fn offset_moves_only_with_the_time_of_day() {
        let mut steady = SteadyOffset::new(EventClock::Boottime);
        let now = steady.to_wall_clock_ns();
        steady.offset_ns = now + 50_000;
        assert!((now..=now + 100_000).contains(&steady.to_wall_clock_ns()));
        steady.offset_ns = now + 1_000_000_000;
        assert!((steady.to_wall_clock_ns() - now).abs() < 1_000_000_000);
    }
}
