//! The clocks of a time namespace (Linux 5.6): `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC` are shifted for its
//! processes, and so is what `/proc` shows them, but not the time that programs of the kernel side read.

use std::{fs, io, os::unix::fs::MetadataExt as _, sync::LazyLock};

/// Inode of the first time namespace: `PROC_TIME_INIT_INO`, `include/linux/proc_ns.h`.
const FIRST: u64 = 0xefff_fffa;

/// How far the clocks of this process are ahead of the kernel's, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockShift {
    /// `CLOCK_MONOTONIC`.
    pub monotonic_ns: i128,
    /// `CLOCK_BOOTTIME`.
    pub boottime_ns: i128,
}

/// The shift of this process, which does not change. `None` if it is in a time namespace whose shift
/// cannot be read.
pub fn clock_shift() -> Option<ClockShift> {
    static SHIFT: LazyLock<Option<ClockShift>> = LazyLock::new(read);
    *SHIFT
}

fn read() -> Option<ClockShift> {
    let inode = |name: &str| Ok(fs::metadata(format!("/proc/self/ns/{name}"))?.ino());
    let own: io::Result<u64> = inode("time");
    match own {
        Ok(FIRST) => Some(ClockShift::default()),
        // The file is about the namespace of children, which may be another one.
        Ok(own) if inode("time_for_children").is_ok_and(|children: u64| children == own) => {
            parse(&fs::read_to_string("/proc/self/timens_offsets").ok()?)
        }
        Ok(_) => None,
        // This kernel has no time namespaces.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(ClockShift::default()),
        Err(_) => None,
    }
}

/// Lines of a clock, seconds and nanoseconds (`proc_timens_show_offsets`, `kernel/time/namespace.c`).
fn parse(offsets: &str) -> Option<ClockShift> {
    let of = |clock: &str| {
        let mut fields = offsets
            .lines()
            .map(str::split_ascii_whitespace)
            .find_map(|mut fields| (fields.next() == Some(clock)).then_some(fields))?;
        let seconds: i128 = fields.next()?.parse().ok()?;
        let nanoseconds: i128 = fields.next()?.parse().ok()?;
        Some(seconds * 1_000_000_000 + nanoseconds)
    };
    Some(ClockShift { monotonic_ns: of("monotonic")?, boottime_ns: of("boottime")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_clocks() {
        let text = "monotonic           0         0\nboottime     -100000 500000000\n";
        let shift = ClockShift { monotonic_ns: 0, boottime_ns: -99_999_500_000_000 };
        assert_eq!(parse(text), Some(shift));
        assert_eq!(parse("monotonic 0 0\n"), None);
        assert_eq!(parse("monotonic 0 0\nboottime x 0\n"), None);
    }

    #[test]
    fn a_usual_process_has_no_shift() {
        assert_eq!(clock_shift(), Some(ClockShift::default()));
    }
}
