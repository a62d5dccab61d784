//! Explains to the operator why the kernel refused a program or its attachment.

use std::{error::Error, io};

use aya::programs::ProgramError;

use super::{hooks::HookMechanism, host_constraints::HostConstraints, lockdown::Lockdown};

/// "Operation is not supported", `include/linux/errno.h`: an internal error number of the kernel that
/// reaches userspace, and that libc has no name for.
const ENOTSUPP: i32 = 524;

/// The error number at the root of a chain of errors.
pub fn root_errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut errno = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            errno = io_error.raw_os_error().or(errno);
        }
        next = error.source();
    }
    errno
}

/// Explains why the kernel refused `mechanism`, on an interface with this maximum transmission unit in
/// bytes, if on one.
pub fn explain(
    mechanism: HookMechanism,
    error: &(dyn Error + 'static),
    constraints: &HostConstraints,
    mtu: Option<u32>,
) -> String {
    if let Some(words) = locked_down(mechanism, constraints) {
        return words.to_owned();
    }
    if let Some(reason) = verifier_reason(&chain(error)) {
        return format!("the kernel's verifier refuses the program: {reason}");
    }
    let is_load = is_load(error);
    let words =
        root_errno(error).and_then(|errno| known(mechanism, errno, is_load, constraints, mtu));
    words.unwrap_or_else(|| chain(error))
}

/// Explains why a program that serves no hook did not load.
pub fn explain_load(error: &(dyn Error + 'static)) -> String {
    let words = chain(error);
    verifier_reason(&words)
        .map_or(words, |reason| format!("the kernel's verifier refuses the program: {reason}"))
}

/// Lockdown, where it rules a mechanism out; the error number of that differs between kernels.
fn locked_down(mechanism: HookMechanism, constraints: &HostConstraints) -> Option<&'static str> {
    use HookMechanism::{Cgroup, Fexit, Kprobe, Tracepoint};
    let is_locked = constraints.lockdown == Some(Lockdown::Confidentiality)
        && matches!(mechanism, Fexit | Kprobe | Tracepoint | Cgroup);
    is_locked.then_some("lockdown=confidentiality: neither kernel memory nor tracefs may be read")
}

/// The verifier's message without the statistics that follow it. The verifier's error numbers are
/// the same as those of missing privileges.
fn verifier_reason(words: &str) -> Option<String> {
    let (_, said) = words.split_once("Verifier output: ")?;
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.take_while(|line| !is_statistics(line)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "stack depth ", "verification time "].iter().any(|head| line.starts_with(head))
}

/// Whether loading the program failed, not attaching it.
fn is_load(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ProgramError::LoadError { .. }) = error.downcast_ref() {
            return true;
        }
        next = error.source();
    }
    false
}

fn known(
    mechanism: HookMechanism,
    errno: i32,
    is_load: bool,
    constraints: &HostConstraints,
    mtu: Option<u32>,
) -> Option<String> {
    use HookMechanism::{
        Cgroup, CgroupSuccess, Clsact, Fexit, Kprobe, Tcx, Tracepoint, XdpGeneric, XdpNative,
    };
    let words = match (mechanism, errno) {
        (_, libc::EPERM | libc::EACCES | libc::EINVAL)
            if let Some(words) = missing_privilege(mechanism, errno, constraints) =>
        {
            words.to_owned()
        }
        // The verifier's message was handled before.
        (_, libc::EINVAL | libc::EACCES) if is_load => return None,
        (XdpNative | XdpGeneric, libc::EBUSY) => {
            "another XDP program holds the interface's slot".to_owned()
        }
        (XdpNative | XdpGeneric, libc::EEXIST) => {
            "another XDP program is attached in the other mode".to_owned()
        }
        (XdpNative, libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        (XdpNative, libc::ERANGE | libc::EINVAL | libc::E2BIG) => refused_by_driver(mtu),
        (XdpNative, libc::ENOMEM | libc::ENOSPC) => {
            "the driver has no queues or memory left for native XDP".to_owned()
        }
        (Tcx, libc::EINVAL) => "this kernel has no TCX (Linux 6.6)".to_owned(),
        (Clsact, libc::ENOENT | libc::EOPNOTSUPP) => {
            "this kernel has no clsact qdisc (module sch_ingress) or no cls_bpf".to_owned()
        }
        (Fexit | Kprobe | Tracepoint, libc::ENOENT) => {
            format!("this kernel does not have what {mechanism} attaches to")
        }
        (Fexit, ENOTSUPP) => {
            return Some(
                "this kernel has no BPF trampolines on this machine (arm64: Linux 6.4)".to_owned(),
            );
        }
        (Cgroup | CgroupSuccess, libc::EPERM) => {
            "a program at the cgroup root allows no other".to_owned()
        }
        (_, libc::EPERM | libc::EACCES) => {
            "this kernel refuses it, though no capability is missing: it was hardened against it"
                .to_owned()
        }
        (_, libc::EOPNOTSUPP) => format!("this kernel was built without {mechanism}"),
        (_, libc::ENODEV) => "the interface is gone".to_owned(),
        _ => return None,
    };
    let name = io::Error::from_raw_os_error(errno).to_string();
    Some(format!("{words} ({})", name.split(" (os error").next().unwrap_or(&name)))
}

/// The missing capability, or the setting of the kernel, that explains an error.
fn missing_privilege(
    mechanism: HookMechanism,
    errno: i32,
    constraints: &HostConstraints,
) -> Option<&'static str> {
    use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe, Tracepoint};
    let reads_kernel = matches!(mechanism, Fexit | Kprobe | Tracepoint | Cgroup | CgroupSuccess);
    let is_refusal = errno != libc::EINVAL;
    let takes_net_admin = !matches!(mechanism, Fexit | Kprobe | Tracepoint);
    if constraints.lacks_perfmon && (reads_kernel || is_refusal) {
        Some("CAP_PERFMON is missing")
    } else if takes_net_admin && is_refusal && constraints.lacks_net_admin {
        Some("CAP_NET_ADMIN is missing")
    } else if errno == libc::EACCES
        && constraints.lacks_perf_events
        && matches!(mechanism, Kprobe | Tracepoint | Cgroup)
    {
        Some(
            "kernel.perf_event_paranoid=3 allows it with CAP_SYS_ADMIN only: sysctl \
             kernel.perf_event_paranoid=2",
        )
    } else if matches!(mechanism, Tracepoint | Cgroup)
        && is_refusal
        && constraints.lacks_read_search
    {
        Some("CAP_DAC_READ_SEARCH is missing, without which only root reads tracefs")
    } else {
        None
    }
}

fn refused_by_driver(mtu: Option<u32>) -> String {
    match mtu {
        Some(mtu) if mtu > 1500 => {
            format!("the driver refuses native XDP, probably for the MTU of {mtu}")
        }
        _ => "the driver refuses native XDP: too few queues, or an offload in its way".to_owned(),
    }
}

/// The messages of a chain of errors, without those that repeat an earlier one.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        if !words.contains(&message) {
            words = format!("{words}: {message}");
        }
        next = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mechanism: HookMechanism, errno: i32, mtu: Option<u32>) -> String {
        let error = io::Error::from_raw_os_error(errno);
        explain(mechanism, &error, &HostConstraints::default(), mtu)
    }

    #[test]
    fn names_the_missing_privilege() {
        use HookMechanism::{Fexit, Tcx, Tracepoint};
        let refused = |mechanism, errno, constraints: &HostConstraints| {
            explain(mechanism, &io::Error::from_raw_os_error(errno), constraints, None)
        };
        let locked = Some(Lockdown::Confidentiality);
        let constraints = HostConstraints { lockdown: locked, ..HostConstraints::default() };
        assert!(refused(Fexit, libc::EINVAL, &constraints).contains("lockdown"));
        assert!(!refused(Tcx, libc::EINVAL, &constraints).contains("lockdown"));
        let constraints = HostConstraints { lacks_net_admin: true, ..HostConstraints::default() };
        assert!(refused(Tcx, libc::EPERM, &constraints).contains("CAP_NET_ADMIN"));
        assert!(!refused(Tcx, libc::EINVAL, &constraints).contains("CAP_NET_ADMIN"));
        assert!(!refused(Fexit, libc::EPERM, &constraints).contains("CAP_NET_ADMIN"));
        let constraints = HostConstraints { lacks_read_search: true, ..HostConstraints::default() };
        assert!(refused(Tracepoint, libc::EACCES, &constraints).contains("CAP_DAC_READ_SEARCH"));
        let constraints = HostConstraints { lacks_perf_events: true, ..HostConstraints::default() };
        assert!(refused(Tracepoint, libc::EACCES, &constraints).contains("perf_event_paranoid=2"));
        assert!(!refused(Fexit, libc::EACCES, &constraints).contains("perf_event_paranoid"));
    }

    #[test]
    fn explains_common_refusals() {
        use HookMechanism::{Fexit, Tcx, XdpNative};
        assert!(words(XdpNative, libc::EBUSY, None).contains("another XDP program"));
        assert!(words(XdpNative, libc::ERANGE, Some(9000)).contains("MTU of 9000"));
        assert!(words(Tcx, libc::EINVAL, None).contains("no TCX"));
        assert!(words(Fexit, libc::EPERM, None).contains("hardened"));
        assert!(words(Fexit, ENOTSUPP, None).contains("no BPF trampolines"));
    }

    #[test]
    fn quotes_the_verifier_without_its_statistics() {
        let words = "BPF_PROG_LOAD failed. Verifier output: R1 unbounded memory access\n\
                     processed 37 insns (limit 1000000)\nstack depth 8\n";
        assert_eq!(verifier_reason(words).as_deref(), Some("R1 unbounded memory access"));
        assert_eq!(verifier_reason("BPF_PROG_LOAD failed. Verifier output: "), None);
        assert_eq!(verifier_reason("no such thing"), None);
    }

    #[test]
    fn an_unknown_error_is_shown_unchanged() {
        assert!(words(HookMechanism::Tcx, libc::EIO, None).contains("Input/output error"));
    }
}
