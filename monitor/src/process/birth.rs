//! When a process was made, which distinguishes it from an earlier or later one of the same id.

use std::io;

use monitor_common::socket_record::Caller;

use super::{proc_dir::ProcessDir, stat::Stat};

/// What is known of a birth, in clock ticks of `CLOCK_BOOTTIME`.
///
/// A tick is 10 ms almost everywhere. Two processes could be taken for one only if all process ids
/// were given out within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// Its tick.
    At(u64),
    /// It was there in this tick. Who has its id now and was there by then, too, is the same.
    NotAfter(u64),
}

impl Birth {
    /// Of the process that made a call at the time `called_at_ns`.
    ///
    /// Before Linux 5.8 the time of the call is that of `CLOCK_MONOTONIC`, which is behind: a
    /// process may be missed for that, and none is mistaken.
    pub(crate) fn of_caller(caller: &Caller, called_at_ns: u64) -> Self {
        caller.start_time_ns.map_or(Self::NotAfter(to_ticks(called_at_ns)), Self::at)
    }

    /// At this time of `CLOCK_BOOTTIME`.
    pub(crate) fn at(nanoseconds: u64) -> Self {
        Self::At(to_ticks(nanoseconds))
    }

    /// The last tick it can have been in.
    pub(crate) const fn latest(self) -> u64 {
        match self {
            Self::At(ticks) | Self::NotAfter(ticks) => ticks,
        }
    }

    /// The process with this id and birth; an error if it is gone.
    pub(crate) fn find(self, pid: u32) -> io::Result<(ProcessDir, Stat)> {
        let process = ProcessDir::open(pid)?;
        let stat = process.stat()?;
        let is_the_one = match self {
            Self::At(ticks) => stat.start_ticks == ticks,
            Self::NotAfter(ticks) => stat.start_ticks <= ticks,
        };
        if is_the_one { Ok((process, stat)) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn nanoseconds_per_tick() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second()
}

/// As `nsec_to_clock_t` in `kernel/time/time.c` rounds it for `/proc/PID/stat`.
fn to_ticks(nanoseconds: u64) -> u64 {
    nanoseconds / nanoseconds_per_tick()
}

/// The beginning of a tick.
pub(crate) fn to_nanoseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(nanoseconds_per_tick())
}

#[cfg(test)]
mod tests {
    use std::process::id;

    use super::*;

    #[test]
    fn another_process_of_the_same_id_is_not_found() {
        let own = ProcessDir::open(id()).and_then(|process| process.stat()).expect("myself");
        let ticks = own.start_ticks;
        for found in [Birth::At(ticks), Birth::NotAfter(ticks), Birth::NotAfter(ticks + 1)] {
            assert_eq!(found.find(id()).expect("myself").1, own);
        }
        for other in [Birth::At(ticks - 1), Birth::At(ticks + 1), Birth::NotAfter(ticks - 1)] {
            assert!(other.find(id()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn ticks_are_those_of_the_kernel() {
        let tick = nanoseconds_per_tick();
        assert_eq!(to_ticks(3 * tick), 3);
        assert_eq!(to_ticks(4 * tick - 1), 3);
        assert_eq!(to_nanoseconds(3), 3 * tick);
        assert_eq!(to_nanoseconds(u64::MAX), u64::MAX);
    }
}
