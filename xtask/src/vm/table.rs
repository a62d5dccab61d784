//! What is run in guests: one row a test.

use std::time::Duration;

/// A program of tests, and the machine it wants.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Name on the command line and in the table.
    pub(super) name: &'static str,
    /// The test program: a file of monitor/tests.
    pub(super) program: &'static str,
    /// Arguments of the test program: names of tests, `--skip` and the like.
    pub(super) arguments: &'static [&'static str],
    /// Further parameters of the kernel.
    pub(super) append: &'static str,
    pub(super) boot: Boot,
    /// Longest that a guest may live.
    pub(super) limit: Duration,
}

/// What the guest's first process sets up before the test.
#[derive(Clone, Copy)]
pub(super) struct Boot {
    /// Filesystems, by the folder they are mounted at, that are left out.
    pub(super) without: &'static [&'static str],
    pub(super) cgroup: Cgroup,
}

/// Which hierarchy of control groups there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cgroup {
    /// The unified one alone.
    Unified,
    /// Only hierarchies of version 1.
    #[expect(dead_code, reason = "for rows about machines without the unified hierarchy")]
    Version1,
}

/// As a distribution boots.
const USUAL: Boot = Boot { without: &[], cgroup: Cgroup::Unified };

/// Rows, in the order in which they run.
pub(super) const ROWS: &[Row] = &[
    row("programs", "packet_programs"),
    row("clsact", "clsact"),
    row("sockets", "sockets"),
    row("attachment", "attachment"),
    row("traffic", "traffic"),
    row("agent", "agent"),
];

const fn row(name: &'static str, program: &'static str) -> Row {
    Row { name, program, arguments: &[], append: "", boot: USUAL, limit: Duration::from_secs(180) }
}

/// A test that cannot be done on some kernels. It looks for itself whether it can, and says so; one
/// that says so elsewhere has failed.
pub(super) struct Skip {
    /// As the test program names it.
    pub(super) test: &'static str,
    /// Lines of kernels.
    pub(super) kernels: &'static [&'static str],
}

/// Every test that may be skipped.
pub(super) const SKIPS: &[Skip] = &[
    // A bind by io_uring came with Linux 6.11.
    Skip { test: "a_bind_by_io_uring_is_seen", kernels: &["5.10", "6.1"] },
    // CONFIG_MPTCP is not set there.
    Skip { test: "a_multipath_listener_is_one_listener", kernels: &["5.10"] },
];

/// How much smaller loads are than on a machine of its own: an emulated CPU is that much slower.
pub(super) const SCALE: u32 = 50;
