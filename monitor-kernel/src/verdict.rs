//! Why a mechanism did not serve, in words for the operator. Pure: an error number in, words out.

use std::{error::Error, io};

use aya::programs::ProgramError;

use super::{hooks::HookMechanism, lockdown::Lockdown};

/// "Operation is not supported", `include/linux/errno.h`: an error number of the kernel's own, which
/// it gives away nonetheless and of which libc has no name.
const ENOTSUPP: i32 = 524;

/// What the words may depend on beside the error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// Maximum transmission unit of the interface, bytes.
    pub mtu: Option<u32>,
    /// The kernel's lockdown mode, where it is known.
    pub lockdown: Option<Lockdown>,
    /// Whether CAP_PERFMON is missing.
    pub lacks_perfmon: bool,
    /// Whether CAP_NET_ADMIN is missing.
    pub lacks_net_admin: bool,
    /// Whether CAP_DAC_READ_SEARCH is missing.
    pub lacks_read_search: bool,
    /// Whether `kernel.perf_event_paranoid` has the value with which Debian's kernels keep
    /// perf_event_open from whoever lacks CAP_SYS_ADMIN, and that is missing.
    pub lacks_perf_events: bool,
}

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

/// Says why `mechanism` was refused.
pub fn explain(
    mechanism: HookMechanism,
    error: &(dyn Error + 'static),
    circumstances: Circumstances,
) -> String {
    if let Some(words) = locked_down(mechanism, circumstances) {
        return words.to_owned();
    }
    if let Some(reason) = verifier_reason(&chain(error)) {
        return format!("the kernel's verifier refuses the program: {reason}");
    }
    let is_load = is_load(error);
    let words = root_errno(error).and_then(|errno| known(mechanism, errno, is_load, circumstances));
    words.unwrap_or_else(|| chain(error))
}

/// Says why a program did not load that serves no hook.
pub fn explain_load(error: &(dyn Error + 'static)) -> String {
    let words = chain(error);
    verifier_reason(&words)
        .map_or(words, |reason| format!("the kernel's verifier refuses the program: {reason}"))
}

/// What stands in the way of these mechanisms whatever the error says, which differs between kernels.
fn locked_down(mechanism: HookMechanism, circumstances: Circumstances) -> Option<&'static str> {
    use HookMechanism::{Cgroup, Fexit, Kprobe, Tracepoint};
    let is_locked = circumstances.lockdown == Some(Lockdown::Confidentiality)
        && matches!(mechanism, Fexit | Kprobe | Tracepoint | Cgroup);
    is_locked.then_some("lockdown=confidentiality: neither kernel memory nor tracefs may be read")
}

/// What the verifier said, whose refusals have the same error numbers as a lack of privileges. Its
/// statistics follow the reason.
fn verifier_reason(words: &str) -> Option<String> {
    let (_, said) = words.split_once("Verifier output: ")?;
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.take_while(|line| !is_statistics(line)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "stack depth ", "verification time "].iter().any(|head| line.starts_with(head))
}

/// Whether it was the loading of a program that failed, before there was anything to attach.
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
    circumstances: Circumstances,
) -> Option<String> {
    use HookMechanism::{
        Cgroup, CgroupSuccess, Clsact, Fexit, Kprobe, Tcx, Tracepoint, XdpGeneric, XdpNative,
    };
    let words = match (mechanism, errno) {
        (_, libc::EPERM | libc::EACCES | libc::EINVAL)
            if let Some(words) = refused_to_us(mechanism, errno, circumstances) =>
        {
            words.to_owned()
        }
        // The verifier has words of its own.
        (_, libc::EINVAL | libc::EACCES) if is_load => return None,
        (XdpNative | XdpGeneric, libc::EBUSY) => {
            "another XDP program holds the interface's slot".to_owned()
        }
        (XdpNative | XdpGeneric, libc::EEXIST) => {
            "another XDP program is attached in the other mode".to_owned()
        }
        (XdpNative, libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        (XdpNative, libc::ERANGE | libc::EINVAL | libc::E2BIG) => refused_by_driver(circumstances),
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

/// What this process lacks, or the kernel was told to refuse, where that explains an error.
fn refused_to_us(
    mechanism: HookMechanism,
    errno: i32,
    circumstances: Circumstances,
) -> Option<&'static str> {
    use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe, Tracepoint};
    let reads_kernel = matches!(mechanism, Fexit | Kprobe | Tracepoint | Cgroup | CgroupSuccess);
    let is_refusal = errno != libc::EINVAL;
    let takes_net_admin = !matches!(mechanism, Fexit | Kprobe | Tracepoint);
    if circumstances.lacks_perfmon && (reads_kernel || is_refusal) {
        Some("CAP_PERFMON is missing")
    } else if takes_net_admin && is_refusal && circumstances.lacks_net_admin {
        Some("CAP_NET_ADMIN is missing")
    } else if errno == libc::EACCES
        && circumstances.lacks_perf_events
        && matches!(mechanism, Kprobe | Tracepoint | Cgroup)
    {
        Some(
            "kernel.perf_event_paranoid=3 keeps it from whoever lacks CAP_SYS_ADMIN: sysctl \
             kernel.perf_event_paranoid=2",
        )
    } else if matches!(mechanism, Tracepoint | Cgroup)
        && is_refusal
        && circumstances.lacks_read_search
    {
        Some("CAP_DAC_READ_SEARCH is missing, without which only root reads tracefs")
    } else {
        None
    }
}

fn refused_by_driver(circumstances: Circumstances) -> String {
    match circumstances.mtu {
        Some(mtu) if mtu > 1500 => {
            format!("the driver refuses native XDP, probably for the MTU of {mtu}")
        }
        _ => "the driver refuses native XDP: too few queues, or an offload in its way".to_owned(),
    }
}

/// Every message of a chain of errors that adds something.
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
        explain(mechanism, &error, Circumstances { mtu, ..Circumstances::default() })
    }

    #[test]
    fn what_is_missing_is_named() {
        use HookMechanism::{Fexit, Tcx, Tracepoint};
        let refused = |mechanism, errno, circumstances| {
            explain(mechanism, &io::Error::from_raw_os_error(errno), circumstances)
        };
        let locked = Some(Lockdown::Confidentiality);
        let circumstances = Circumstances { lockdown: locked, ..Circumstances::default() };
        assert!(refused(Fexit, libc::EINVAL, circumstances).contains("lockdown"));
        assert!(!refused(Tcx, libc::EINVAL, circumstances).contains("lockdown"));
        let circumstances = Circumstances { lacks_net_admin: true, ..Circumstances::default() };
        assert!(refused(Tcx, libc::EPERM, circumstances).contains("CAP_NET_ADMIN"));
        assert!(!refused(Tcx, libc::EINVAL, circumstances).contains("CAP_NET_ADMIN"));
        assert!(!refused(Fexit, libc::EPERM, circumstances).contains("CAP_NET_ADMIN"));
        let circumstances = Circumstances { lacks_read_search: true, ..Circumstances::default() };
        assert!(refused(Tracepoint, libc::EACCES, circumstances).contains("CAP_DAC_READ_SEARCH"));
        let circumstances = Circumstances { lacks_perf_events: true, ..Circumstances::default() };
        assert!(refused(Tracepoint, libc::EACCES, circumstances).contains("perf_event_paranoid=2"));
        assert!(!refused(Fexit, libc::EACCES, circumstances).contains("perf_event_paranoid"));
    }

    #[test]
    fn common_refusals_have_words() {
        use HookMechanism::{Fexit, Tcx, XdpNative};
        assert!(words(XdpNative, libc::EBUSY, None).contains("another XDP program"));
        assert!(words(XdpNative, libc::ERANGE, Some(9000)).contains("MTU of 9000"));
        assert!(words(Tcx, libc::EINVAL, None).contains("no TCX"));
        assert!(words(Fexit, libc::EPERM, None).contains("hardened"));
        assert!(words(Fexit, ENOTSUPP, None).contains("no BPF trampolines"));
    }

    #[test]
    fn the_verifier_is_quoted_without_its_statistics() {
        let words = "BPF_PROG_LOAD failed. Verifier output: R1 unbounded memory access\n\
                     processed 37 insns (limit 1000000)\nstack depth 8\n";
        assert_eq!(verifier_reason(words).as_deref(), Some("R1 unbounded memory access"));
        assert_eq!(verifier_reason("BPF_PROG_LOAD failed. Verifier output: "), None);
        assert_eq!(verifier_reason("no such thing"), None);
    }

    #[test]
    fn an_unknown_error_is_told_as_it_is() {
        assert!(words(HookMechanism::Tcx, libc::EIO, None).contains("Input/output error"));
    }
}
