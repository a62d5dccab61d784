//! When a process was made, which distinguishes it from others that had its id before or after.

use std::io;

use monitor_common::socket_record::Caller;
use monitor_kernel::time_namespace::clock_shift;

use super::{proc_dir::ProcessDir, stat::Stat};

/// A process by its id and the time at which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessKey {
    /// Process id.
    pub(crate) pid: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub(crate) start_time_ns: u64,
}

impl ProcessKey {
    /// Opens the process; an error if it has ended.
    pub(crate) fn find(self) -> io::Result<(ProcessDir, Stat)> {
        StartTime::at(self.start_time_ns).find(self.pid)
    }
}

/// What is known of the time at which a process was made, in clock ticks of `CLOCK_BOOTTIME`.
///
/// A tick is 10 ms almost everywhere. Two processes could be taken for one only if the kernel gave
/// out all process ids within a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartTime {
    /// In this tick.
    At(u64),
    /// In this tick or before. A process that has the id now and existed by then is the same one.
    NotAfter(u64),
}

impl StartTime {
    /// Of the process that made a call at the time `called_at_ns`.
    ///
    /// Before Linux 5.8 the time of the call is that of `CLOCK_MONOTONIC`, which is behind: the
    /// process may then not be found, but no other one is.
    pub(crate) fn of_caller(caller: &Caller, called_at_ns: u64) -> Self {
        caller.start_time_ns.map_or(Self::NotAfter(to_ticks(called_at_ns)), Self::at)
    }

    /// At this time of `CLOCK_BOOTTIME`.
    pub(crate) fn at(nanoseconds: u64) -> Self {
        Self::At(to_ticks(nanoseconds))
    }

    /// The latest tick in which it can have been made.
    pub(crate) const fn latest(self) -> u64 {
        match self {
            Self::At(ticks) | Self::NotAfter(ticks) => ticks,
        }
    }

    /// Opens the process with this id and start time; an error if it has ended.
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

/// As `nsec_to_clock_t` in `kernel/time/time.c` rounds it for `/proc/PID/stat`, which shows the clock of
/// the reader's time namespace.
fn to_ticks(nanoseconds: u64) -> u64 {
    shifted(nanoseconds, shift_ns()) / nanoseconds_per_tick()
}

/// The beginning of a tick, `CLOCK_BOOTTIME` of the kernel.
pub(crate) fn to_nanoseconds(ticks: u64) -> u64 {
    shifted(ticks.saturating_mul(nanoseconds_per_tick()), -shift_ns())
}

fn shift_ns() -> i128 {
    clock_shift().unwrap_or_default().boottime_ns
}

fn shifted(nanoseconds: u64, by_ns: i128) -> u64 {
    let shifted = (i128::from(nanoseconds) + by_ns).max(0);
    u64::try_from(shifted).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::id;

    use super::*;

    #[test]
    fn rejects_another_process_of_the_same_id() {
        let own = ProcessDir::open(id()).and_then(|process| process.stat()).expect("myself");
        let ticks = own.start_ticks;
        for found in
            [StartTime::At(ticks), StartTime::NotAfter(ticks), StartTime::NotAfter(ticks + 1)]
        {
            assert_eq!(found.find(id()).expect("myself").1, own);
        }
        for other in
            [StartTime::At(ticks - 1), StartTime::At(ticks + 1), StartTime::NotAfter(ticks - 1)]
        {
            assert!(other.find(id()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn rounds_ticks_as_the_kernel_does() {
        let tick = nanoseconds_per_tick();
        assert_eq!(to_ticks(3 * tick), 3);
        assert_eq!(to_ticks(4 * tick - 1), 3);
        assert_eq!(to_nanoseconds(3), 3 * tick);
        assert_eq!(to_nanoseconds(u64::MAX), u64::MAX);
    }
}
