//! Capabilities that the kernel side takes, and whether this process has them.

use std::fs;

/// A capability, `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    /// Bit.
    bit: u32,
    /// Another bit that includes it.
    included_in: Option<u32>,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether nothing works without it.
    pub required: bool,
}

const SYS_ADMIN: u32 = 21;

/// What an agent needs, and what makes it complete.
pub const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        bit: 39,
        included_in: Some(SYS_ADMIN),
        purpose: "load programs and maps",
        required: true,
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        included_in: Some(SYS_ADMIN),
        purpose: "trace socket calls",
        required: true,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        included_in: None,
        purpose: "attach to interfaces and cgroups",
        required: true,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        included_in: None,
        purpose: "see other users' processes",
        required: false,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        included_in: None,
        purpose: "read tracefs and other users' /proc",
        required: false,
    },
];

/// Capabilities that this process lacks.
pub fn missing() -> Vec<Capability> {
    let effective = effective();
    let has = |bit: u32| effective >> bit & 1 == 1;
    let lacks = |c: &Capability| !has(c.bit) && !c.included_in.is_some_and(has);
    CAPABILITIES.into_iter().filter(lacks).collect()
}

/// How to grant what is missing, in one line.
pub fn remedy() -> String {
    let names: Vec<String> =
        CAPABILITIES.iter().map(|capability| capability.name.to_ascii_lowercase()).collect();
    let program = std::env::current_exe().map_or("ghostport".into(), |p| p.display().to_string());
    format!("run it as root (sudo), or grant them: setcap {}+ep {program}", names.join(","))
}

/// The effective set, from `/proc/self/status`.
fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}
