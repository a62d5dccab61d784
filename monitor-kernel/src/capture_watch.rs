//! Notices of sockets that may capture packets. They end with the agent: what is opened while none runs,
//! the first scan of the next one finds.

use anyhow::Result;

use crate::{links::OwnedLink, program_loader::ProgramLoader};

/// The program for functions without a trampoline.
const KPROBE: &str = "capture_kprobe";

/// Functions that make such a socket or give it its filter, and the program of each.
const FUNCTIONS: [(&str, &str); 6] = [
    ("packet_create", "capture_fentry_create"),
    ("packet_bind", "capture_fentry_bind"),
    ("sk_attach_filter", "capture_fentry_filter"),
    ("sk_attach_bpf", "capture_fentry_bpf"),
    ("raw_bind", "capture_fentry_raw"),
    ("xsk_bind", "capture_fentry_xsk"),
];

/// The programs at the tracepoints of system calls, with category and name.
const TRACEPOINTS: [(&str, &str, &str); 2] = [
    ("capture_tracepoint_socket", "syscalls", "sys_enter_socket"),
    ("capture_tracepoint_setsockopt", "syscalls", "sys_enter_setsockopt"),
];

/// The kernel functions, to which programs are attached by their BTF ids, or by their names.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.into_iter().map(|(function, _)| function)
}

/// The attached programs.
#[derive(Debug, Default)]
pub(super) struct CaptureWatch(#[expect(dead_code, reason = "held to be dropped")] Vec<OwnedLink>);

impl CaptureWatch {
    /// Attaches to the functions that this kernel has, or, if `may_trace_calls`, to the system calls.
    pub(super) fn attach(loader: &mut ProgramLoader, may_trace_calls: bool) -> Result<Self> {
        let mut links = Vec::new();
        let mut failure = None;
        for (function, program) in FUNCTIONS {
            let by_trampoline = loader.attach_fentry(program, function).map(Into::into);
            match by_trampoline.or_else(|_| loader.attach_kprobe(KPROBE, function)) {
                Ok(link) => links.push(link),
                Err(error) => failure = Some(error),
            }
        }
        if links.is_empty() && may_trace_calls {
            for (program, category, name) in TRACEPOINTS {
                links.push(loader.attach_tracepoint(program, category, name)?);
            }
        }
        match failure {
            Some(error) if links.is_empty() => Err(error),
            _ => Ok(Self(links)),
        }
    }
}
