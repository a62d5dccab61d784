//! What the kernel itself says of a process, in `/proc`.

use std::{fmt::Display, fs};

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Bytes of a command line that the agent reports.
const REPORTED: usize = 256;

/// The arguments of a process, as far as the agent reports them.
pub fn command_args(pid: u32) -> Vec<String> {
    let mut line = fs::read(format!("/proc/{pid}/cmdline")).expect("a command line");
    line.truncate(REPORTED);
    let line = String::from_utf8(line).expect("text");
    line.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// A field of `/proc/PID/stat` by its number (proc_pid_stat(5)), from the third on. `process` may be
/// `self`.
pub fn stat_field(process: impl Display, number: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    // The name, in parentheses, may have spaces.
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let field = rest.split(' ').nth(number - 3).expect("a field");
    field.parse().expect("a number")
}

/// Time of the CPU that a process has taken, in ticks of 10 ms.
pub fn cpu_ticks(process: u32) -> u64 {
    const UTIME: usize = 14;
    const STIME: usize = 15;
    [UTIME, STIME].map(|number| stat_field(process, number)).iter().sum()
}

/// Checks that `time` is when the process started, to the precision of `/proc`.
#[track_caller]
pub fn assert_born(time: &str, pid: u32) {
    let told: Timestamp = time.parse().expect("RFC 3339");
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    let boot = nanoseconds(clock_gettime(ClockId::Boottime));
    let since_boot = told.as_nanosecond() - (wall - boot);
    const START_TIME: usize = 22;
    let ticks = i128::from(stat_field(pid, START_TIME));
    let per_tick = 1_000_000_000 / i128::from(rustix::param::clock_ticks_per_second());
    let age = since_boot - ticks * per_tick;
    assert!((-1_000_000..per_tick + 1_000_000).contains(&age), "{time} is {age} ns off");
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
