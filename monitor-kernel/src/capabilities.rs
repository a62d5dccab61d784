//! Capabilities that the agent needs, those that this process lacks, and dropping the others.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use rustix::{
    process::Pid,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_no_new_privs,
    },
};

use crate::wait::wait_until;

/// Time for the kernel to clean up a thread that has ended.
const END_OF_A_THREAD: Duration = Duration::from_secs(5);

/// A capability, `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    /// Its purpose.
    pub purpose: &'static str,
    /// The loss without it.
    pub costs: &'static str,
    /// Whether nothing works without it.
    pub is_vital: bool,
    flag: CapabilitySet,
    /// Another capability that includes it.
    included_in: CapabilitySet,
}

/// The capabilities that an agent uses as long as it runs: interfaces appear, counters grow.
pub const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        purpose: "load programs and maps",
        costs: "the agent cannot start",
        is_vital: true,
        flag: CapabilitySet::BPF,
        included_in: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_PERFMON",
        purpose: "load programs that read packets and the kernel",
        costs: "the agent cannot start",
        is_vital: true,
        flag: CapabilitySet::PERFMON,
        included_in: CapabilitySet::SYS_ADMIN,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        purpose: "attach to interfaces and cgroups",
        costs: "no packet is counted; the cgroup hooks cannot be used",
        is_vital: false,
        flag: CapabilitySet::NET_ADMIN,
        included_in: CapabilitySet::empty(),
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        purpose: "see whose process another user's is",
        costs: "program, files and namespaces of other users' processes stay unknown",
        is_vital: false,
        flag: CapabilitySet::SYS_PTRACE,
        included_in: CapabilitySet::empty(),
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        purpose: "read tracefs and other users' /proc",
        costs: "only root has tracepoints for binds, and files of other users' processes stay unread",
        is_vital: false,
        flag: CapabilitySet::DAC_READ_SEARCH,
        included_in: CapabilitySet::empty(),
    },
];

/// Whether an agent can work without these. Without CAP_PERFMON the verifier rejects every program;
/// without CAP_NET_ADMIN socket calls are still seen.
pub fn can_work_without(missing: &[Capability]) -> bool {
    !missing.iter().any(|capability| capability.is_vital)
}

/// Capabilities that this thread lacks.
pub fn missing() -> Vec<Capability> {
    missing_of(None)
}

/// Capabilities that a process lacks, or this thread.
pub fn missing_of(process: Option<Pid>) -> Vec<Capability> {
    let effective = capabilities(process).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let lacks = |c: &Capability| {
        !effective.contains(c.flag)
            && (c.included_in.is_empty() || !effective.contains(c.included_in))
    };
    CAPABILITIES.into_iter().filter(lacks).collect()
}

/// Whether this thread has CAP_SYS_ADMIN, which mounts and namespaces need.
pub fn has_sys_admin() -> bool {
    has(CapabilitySet::SYS_ADMIN)
}

/// Whether this thread has CAP_NET_ADMIN, which the rules and connections of netfilter need.
pub fn has_net_admin() -> bool {
    has(CapabilitySet::NET_ADMIN)
}

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// How to grant the missing capabilities, in one line.
pub fn remedy() -> String {
    let names: Vec<String> =
        CAPABILITIES.iter().map(|capability| capability.name.to_ascii_lowercase()).collect();
    let program = std::env::current_exe().map_or("ghostport".into(), |p| p.display().to_string());
    format!("run it as root (sudo), or grant them: setcap {}+ep {program}", names.join(","))
}

/// Runs `work` with the privileges that remain after [`give_up_the_rest`], so that an operation that
/// would be refused later fails now.
pub fn as_later<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    with_effective(|sets| sets.effective & kept(sets.permitted), work)
}

/// Runs `work` with the rights of the user who started this program, where the file of the program
/// grants more (`setcap`): a user must not read by it what is closed to them. The capabilities of a
/// service manager's unit stay.
///
/// # Errors
/// The capabilities cannot be read or set.
pub fn as_the_user<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    if !is_granted_by_the_file() {
        return Ok(work());
    }
    with_effective(|_| CapabilitySet::empty(), work)
}

/// Runs `work` with other effective capabilities, and restores those of before.
fn with_effective<T>(
    effective: impl FnOnce(&CapabilitySets) -> CapabilitySet,
    work: impl FnOnce() -> T,
) -> io::Result<T> {
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: effective(&sets), ..sets })?;
    let done = work();
    set_capabilities(None, sets)?;
    Ok(done)
}

/// Whether the execution of this program has raised its privileges (`AT_SECURE`).
fn is_granted_by_the_file() -> bool {
    // SAFETY: reads a number that the kernel has passed to this program.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Drops, irrevocably, every capability that the file of this program grants beyond those of the user
/// who started it.
///
/// # Errors
/// The capabilities cannot be set.
pub fn give_up_those_of_the_file() -> io::Result<()> {
    if is_granted_by_the_file() { give_up_all() } else { Ok(()) }
}

/// Drops every capability of this thread, irrevocably.
///
/// # Errors
/// The capabilities cannot be set.
pub fn give_up_all() -> io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(clear_ambient_capability_set()?)
}

/// Drops every capability that the agent no longer needs, irrevocably.
///
/// Capabilities belong to threads. To be called on the first thread, while it is the only one: later
/// threads inherit its capabilities.
pub fn give_up_the_rest() -> io::Result<()> {
    // A joined thread is listed until the kernel has freed its own resources, such as mounts
    // (`do_exit` in `kernel/exit.c` wakes the joining thread before that).
    let is_alone = || !fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1);
    if !wait_until(Instant::now() + END_OF_A_THREAD, is_alone) {
        return Err(io::Error::other("another thread would keep its capabilities"));
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let kept = kept(capabilities(None)?.permitted);
    limit_bounding_set(kept);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// The part of `permitted` that is still needed when everything is attached.
fn kept(permitted: CapabilitySet) -> CapabilitySet {
    let needed = CAPABILITIES.iter().fold(CapabilitySet::empty(), |needed, capability| {
        let has = permitted.contains(capability.flag);
        needed | if has { capability.flag } else { capability.included_in }
    });
    permitted & needed
}

/// Reduces the bounding set, which needs CAP_SETPCAP. Defense in depth: the agent executes no program
/// that could gain capabilities.
fn limit_bounding_set(kept: CapabilitySet) {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // An error marks the end of the capabilities that this kernel knows.
        let Ok(is_in) = capability_is_in_bounding_set(capability) else { return };
        if is_in
            && !kept.contains(capability)
            && let Err(error) = remove_capability_from_bounding_set(capability)
        {
            tracing::debug!(%error, "the bounding set stays");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(names: &[&str]) -> Vec<Capability> {
        CAPABILITIES.into_iter().filter(|capability| names.contains(&capability.name)).collect()
    }

    #[test]
    fn only_vital_capabilities_are_required() {
        assert!(can_work_without(&lacking(&["CAP_NET_ADMIN", "CAP_SYS_PTRACE"])));
        assert!(!can_work_without(&lacking(&["CAP_PERFMON", "CAP_NET_ADMIN"])));
        assert!(!can_work_without(&lacking(&["CAP_BPF"])));
    }

    #[test]
    fn keeps_only_needed_capabilities() {
        let five = CAPABILITIES.iter().fold(CapabilitySet::empty(), |set, c| set | c.flag);
        assert_eq!(kept(CapabilitySet::all()), five);
        assert_eq!(kept(five | CapabilitySet::SYS_ADMIN), five);
        let old = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::CHOWN;
        assert_eq!(kept(old), CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN);
    }
}
