//! From the clocks of the kernel to the time of day.

use std::fs;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The wall clock is read between two readings of the other one, which errs by half of the distance
/// between them at most; the closest pair of so many counts.
const READINGS: usize = 3;

/// The clock that the kernel side stamps its events with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClock {
    /// `CLOCK_BOOTTIME`, Linux 5.8 and later.
    Boottime,
    /// `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    Monotonic,
}

impl EventClock {
    /// What is to be added to this clock to get the time of day now; nanoseconds.
    ///
    /// It moves when the time of day is set, and with a sleep where the clock stands still.
    pub fn offset_to_wall_clock_ns(self) -> i128 {
        let id = match self {
            Self::Boottime => ClockId::Boottime,
            Self::Monotonic => ClockId::Monotonic,
        };
        let readings = (0..READINGS).map(|_| {
            let before = nanoseconds(clock_gettime(id));
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = nanoseconds(clock_gettime(id));
            (after - before, wall - (before + after) / 2)
        });
        readings.min().map_or(0, |(_, offset)| offset)
    }
}

/// The same offset again and again, until the time of day is set: two readings differ by some
/// nanoseconds, and the birth of a process must not.
#[derive(Clone, Copy, Debug)]
pub struct SteadyOffset {
    clock: EventClock,
    offset_ns: i128,
}

impl SteadyOffset {
    /// What two readings may differ by; an undisturbed one errs by much less.
    const TOLERANCE_NS: u128 = 100_000;

    /// The offset now.
    pub fn new(clock: EventClock) -> Self {
        Self { clock, offset_ns: clock.offset_to_wall_clock_ns() }
    }

    /// What is to be added to the clock to get the time of day.
    pub fn to_wall_clock_ns(&mut self) -> i128 {
        let offset_ns = self.clock.offset_to_wall_clock_ns();
        if offset_ns.abs_diff(self.offset_ns) > Self::TOLERANCE_NS {
            self.offset_ns = offset_ns;
        }
        self.offset_ns
    }
}

/// `CLOCK_BOOTTIME` now, nanoseconds.
pub fn boottime_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// What tells this boot of the kernel from others; empty where `/proc` does not say.
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
    fn offset_leads_to_the_time_of_day() {
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
