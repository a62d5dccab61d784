//! From the clocks of the kernel to the time of day.

use rustix::time::{ClockId, Timespec, clock_gettime};

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
        // The wall clock is read between two readings of the other one, which errs by half of the
        // distance between them at most.
        let before = nanoseconds(clock_gettime(id));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(id));
        wall - (before + after) / 2
    }
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
}
