//! What this host or the privileges of this process rule out.

use super::{capabilities, lockdown::Lockdown};

/// Properties of the host that explain why the kernel refuses a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostConstraints {
    /// The kernel's lockdown mode, if it is known.
    pub lockdown: Option<Lockdown>,
    /// Whether CAP_PERFMON is missing.
    pub lacks_perfmon: bool,
    /// Whether CAP_NET_ADMIN is missing.
    pub lacks_net_admin: bool,
    /// Whether CAP_DAC_READ_SEARCH is missing.
    pub lacks_read_search: bool,
    /// Whether `kernel.perf_event_paranoid` has the value by which Debian's kernels refuse
    /// `perf_event_open` to processes without CAP_SYS_ADMIN, and that is missing.
    pub lacks_perf_events: bool,
}

impl HostConstraints {
    /// Those of this host and this process.
    pub fn detect() -> Self {
        let missing = capabilities::missing();
        let lacks = |name| missing.iter().any(|capability| capability.name == name);
        Self {
            lockdown: Lockdown::in_force(),
            lacks_perfmon: lacks("CAP_PERFMON"),
            lacks_net_admin: lacks("CAP_NET_ADMIN"),
            lacks_read_search: lacks("CAP_DAC_READ_SEARCH"),
            lacks_perf_events: perf_events_are_restricted() && !capabilities::has_sys_admin(),
        }
    }
}

fn perf_events_are_restricted() -> bool {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    level.is_ok_and(|level| level.trim().parse().is_ok_and(|level: i32| level > 2))
}
