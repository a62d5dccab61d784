//! What the kernel itself says of a process, in `/proc`.

use std::fs;

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

/// Checks that `time` is when the process started, to the precision of `/proc`.
#[track_caller]
pub fn assert_born(time: &str, pid: u32) {
    let told: Timestamp = time.parse().expect("RFC 3339");
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    let boot = nanoseconds(clock_gettime(ClockId::Boottime));
    let since_boot = told.as_nanosecond() - (wall - boot);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("facts");
    // The name, in parentheses, may have spaces; the start time is the 22nd field.
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks = fields.split(' ').nth(19).and_then(|field| field.parse::<i128>().ok());
    let per_tick = 1_000_000_000 / i128::from(rustix::param::clock_ticks_per_second());
    let age = since_boot - ticks.expect("a start time") * per_tick;
    assert!((-1_000_000..per_tick + 1_000_000).contains(&age), "{time} is {age} ns off");
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
