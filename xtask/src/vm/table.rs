//! What is run in guests: one row a test.

use std::time::Duration;

/// A program of tests, and the machine it wants.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Name on the command line and in the table.
    pub(super) name: &'static str,
    /// The test program: a folder of monitor/tests.
    pub(super) program: &'static str,
    /// Its tests, by a part of their names: modules, or tests.
    pub(super) tests: &'static [&'static str],
    /// Names of tests among them that are left out.
    pub(super) skipped: &'static [&'static str],
    /// Whether the test is one that is ignored on other machines.
    pub(super) is_ignored: bool,
    /// Further parameters of the kernel.
    pub(super) append: &'static str,
    pub(super) boot: Boot,
    /// Whether time is counted in instructions: one is a nanosecond, and nothing else takes any.
    pub(super) counts_instructions: bool,
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
    Version1,
}

/// For most rows. Emulation is slow, the more so beside other work: it is there to end a guest that
/// hangs.
const LIMIT: Duration = Duration::from_secs(1800);

/// As a distribution boots.
const USUAL: Boot = Boot { without: &[], cgroup: Cgroup::Unified };

/// Rows, in the order in which they run.
pub(super) const ROWS: &[Row] = &[
    row("programs", "kernel", &["packet_programs::"]),
    row("clsact", "kernel", &["clsact::"]),
    row("sockets", "kernel", &["socket_calls::"]),
    row("scenario", "kernel", &["scenario::"]),
    row("outbound", "kernel", &["outbound::"]),
    row("attachment", "kernel", &["attachment::"]),
    row("interfaces", "kernel", &["interfaces::"]),
    row("adoption", "kernel", &["a_kill_under_load"]),
    Row { skipped: &["a_kill_under_load"], ..row("traffic", "kernel", &["traffic::"]) },
    row("payloads", "kernel", &["payloads::"]),
    row("sides", "kernel", &["sides::"]),
    row("agent", "agent", &["running::"]),
    row("life", "agent", &["life::"]),
    row("answered", "agent", &["answered::"]),
    row("captures", "agent", &["captures::"]),
    row("open-sockets", "kernel", &["open_sockets::"]),
    row("privileges", "agent", &["privileges::"]),
    situation("clock", &["store::a_clock_a_year_ahead"], ""),
    situation(
        "lockdown-integrity",
        &["privileges::boot::lockdown_integrity"],
        "lockdown=integrity",
    ),
    situation(
        "lockdown-confidentiality",
        &["privileges::boot::lockdown_confidentiality"],
        "lockdown=confidentiality",
    ),
    situation(
        "bpf-allowed",
        &["privileges::boot::unprivileged_bpf_allowed"],
        "sysctl.kernel.unprivileged_bpf_disabled=0",
    ),
    situation(
        "bpf-forbidden-for-good",
        &["privileges::boot::unprivileged_bpf_forbidden_for_good"],
        "sysctl.kernel.unprivileged_bpf_disabled=1",
    ),
    situation(
        "bpf-forbidden",
        &["privileges::boot::unprivileged_bpf_forbidden_revocably"],
        "sysctl.kernel.unprivileged_bpf_disabled=2",
    ),
    Row {
        boot: Boot { cgroup: Cgroup::Version1, ..USUAL },
        ..situation("cgroup-v1", &["privileges::host::cgroup_v1"], "")
    },
];

/// Rows that are part of `cargo xtask test`: those that say most about a kernel in the least time.
pub(super) const EVERY_TEST: &[&str] = &["scenario"];

/// What is measured, not tested: no row of the matrix. How long it takes would be the emulator's
/// affair, to which a change of what is running is dear and a calculation cheap. With one CPU: the
/// emulator's CPUs take turns, and what a watcher does on one would be time that passes on the other.
/// With the time read from the CPU, as on real machines.
pub(super) const BIND_COST: Row = Row {
    is_ignored: true,
    append: "maxcpus=1 tsc=reliable clocksource=tsc",
    counts_instructions: true,
    limit: Duration::from_secs(1800),
    ..row("bind-cost", "kernel", &["bind_cost::"])
};

/// One test of privileges, on a machine that it makes sure to be what it wants.
const fn situation(name: &'static str, test: &'static [&'static str], append: &'static str) -> Row {
    Row { append, is_ignored: true, ..row(name, "agent", test) }
}

const fn row(name: &'static str, program: &'static str, tests: &'static [&'static str]) -> Row {
    Row {
        name,
        program,
        tests,
        skipped: &[],
        is_ignored: false,
        append: "",
        boot: USUAL,
        counts_instructions: false,
        limit: LIMIT,
    }
}

/// A test that cannot be done on some kernels. It looks for itself whether it can, and says so; one
/// that says so elsewhere has failed.
pub(super) struct Skip {
    /// As the test program names it, without its module.
    pub(super) test: &'static str,
    /// Lines of kernels.
    pub(super) kernels: &'static [&'static str],
}

/// Every test that may be skipped.
pub(super) const SKIPS: &[Skip] = &[
    // A bind by io_uring came with Linux 6.11.
    Skip { test: "reports_a_bind_by_io_uring", kernels: &["5.10", "6.1", "6.1-arm64"] },
    // CONFIG_MPTCP is not set there.
    Skip { test: "reports_a_multipath_listener_once", kernels: &["5.10"] },
    // Packets in several buffers came to XDP with Linux 5.18.
    Skip { test: "xdp_counts_packets_in_several_buffers", kernels: &["5.10"] },
    // Test runs with packets that are not contiguous came with Linux 6.19.
    Skip {
        test: "tc_reads_headers_that_are_not_contiguous",
        kernels: &["5.10", "6.1", "6.12", "6.18", "6.1-arm64"],
    },
    // Linux 7.1 removed UDP-Lite.
    Skip { test: "reports_a_udplite_socket", kernels: &["7.x", "7.x-rt"] },
    Skip { test: "a_udplite_server_is_bound_and_served", kernels: &["7.x", "7.x-rt"] },
    Skip { test: "a_udplite_flow_that_this_host_begins_is_outbound", kernels: &["7.x", "7.x-rt"] },
    // Guests have no tcp_diag, which the kernel loads by itself elsewhere.
    Skip {
        test: "a_program_that_passes_data_on_to_another_socket_is_named",
        kernels: &["5.10", "6.1", "6.12", "6.18", "7.x", "7.x-rt", "6.1-arm64"],
    },
    // TCX came with Linux 6.6.
    Skip {
        test: "a_kill_under_load_loses_no_frame_by_tcx",
        kernels: &["5.10", "6.1", "6.1-arm64"],
    },
    Skip { test: "reports_why_tcx_was_rejected", kernels: &["6.12", "6.18", "7.x", "7.x-rt"] },
];

/// How much smaller loads are than on a machine of its own: an emulated CPU is that much slower.
pub(super) const SCALE: u32 = 50;
