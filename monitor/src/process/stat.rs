//! The fields of `/proc/PID/stat` that identify a process and its program (`do_task_stat` in
//! `fs/proc/array.c`).

use std::num::NonZeroU32;

use super::text::text;

/// The fields of `/proc/PID/stat` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Name of the thread group's leader.
    pub(crate) name: String,
    /// Process id of the parent; 0 if it has none in this pid namespace.
    pub(crate) parent_pid: u32,
    /// When the process was made: clock ticks of `CLOCK_BOOTTIME`.
    pub(crate) start_ticks: u64,
    /// Low half of the address of its arguments in its own memory; `None` if it has none or this
    /// process may not see it.
    pub(crate) arguments_at: Option<NonZeroU32>,
}

impl Stat {
    /// `None` for a line that the kernel never writes.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        // The name may hold anything, parentheses too; no field behind it does.
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let fields = str::from_utf8(line.get(close + 1..)?).ok()?;
        // The state is the third field.
        let mut fields = fields.split_ascii_whitespace();
        let parent_pid = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        let arguments_at: u64 = fields.nth(25).map_or(Ok(0), str::parse).ok()?;
        Some(Self {
            name: text(line.get(open + 1..close)?),
            parent_pid,
            start_ticks,
            arguments_at: NonZeroU32::new(arguments_at as u32),
        })
    }

    /// Whether `earlier`, of the same process, is of the same program.
    pub(crate) fn is_same_program(&self, earlier: &Self) -> bool {
        self.name == earlier.name && self.arguments_at == earlier.arguments_at
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINE: &str = "1234 (a) b (c) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 \
                        1000 10 18446744073709551615 1 2 3\n";

    #[test]
    fn reads_a_name_that_looks_like_fields() {
        let stat = Stat::parse(LINE.as_bytes()).expect("a line");
        let expected =
            Stat { name: "a) b (c".into(), parent_pid: 1, start_ticks: 98765, arguments_at: None };
        assert_eq!(stat, expected);
    }

    #[test]
    fn distinguishes_programs_by_where_their_arguments_are() {
        let own = || Stat::parse(&fs::read("/proc/self/stat").expect("a line")).expect("fields");
        assert!(own().arguments_at.is_some() && own().is_same_program(&own()));
        let other = Stat { arguments_at: NonZeroU32::new(1), ..own() };
        assert!(!own().is_same_program(&other));
    }

    #[test]
    fn rejects_a_truncated_line() {
        for end in 0..LINE.find("98765").expect("a start time") {
            assert_eq!(Stat::parse(&LINE.as_bytes()[..end]), None, "{end}");
        }
    }
}
