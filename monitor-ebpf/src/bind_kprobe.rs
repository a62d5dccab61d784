//! Binds by kprobe and kretprobe on the functions of [`crate::bind_fexit`], for kernels without
//! trampolines. The entry stores what the return needs, and the first return removes it: where one
//! function called another, both return the same value.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use monitor_common::{errors::KernelError, ports::WirePort, socket_event::Mechanism};

use crate::{
    access::{Access as _, Probed},
    bind_fexit::read_kernel_sockaddr,
    maps::{BINDS_IN_FLIGHT, count_error, has_listeners, is_watched},
    sock::{self, offset},
    sockaddr::BindInFlight,
    socket_call::record_bind,
};

/// Entry of `inet_bind` and `inet6_bind`.
#[kprobe]
fn bind_kprobe_entry(context: ProbeContext) -> u32 {
    let _ = on_entry(&context);
    0
}

/// Entry of `inet_bind_sk` and `inet6_bind_sk`.
#[kprobe]
fn bind_kprobe_entry_sk(context: ProbeContext) -> u32 {
    let _ = on_entry_with_sk(&context);
    0
}

/// Return from any of them.
#[kretprobe]
fn bind_kprobe_return(context: RetProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread's entry and return use the element.
    let Some(bind) = (unsafe { BINDS_IN_FLIGHT.get(thread) }).copied() else {
        return 0;
    };
    let _ = BINDS_IN_FLIGHT.remove(thread);
    let sk = bind.sk as *const c_void;
    record_bind::<Probed, _>(&context, Mechanism::Kprobe, sk, &bind.request, context.ret());
    0
}

#[inline(always)]
fn on_entry(context: &ProbeContext) -> Option<()> {
    let socket: *const c_void = context.arg(0)?;
    store(context, Probed::member(socket, offset!(socket_sk))?)
}

#[inline(always)]
fn on_entry_with_sk(context: &ProbeContext) -> Option<()> {
    let sk: *const c_void = context.arg(0)?;
    if !sock::is_subflow::<Probed>(sk) {
        return None;
    }
    store(context, sk)
}

#[inline(always)]
fn store(context: &ProbeContext, sk: *const c_void) -> Option<()> {
    let sockaddr: *const c_void = context.arg(1)?;
    let request = read_kernel_sockaddr(sockaddr as u64)?;
    let requested = request.port();
    if requested != 0 && !is_of_interest(WirePort::of(requested), sk) {
        return None;
    }
    let bind = BindInFlight {
        sockaddr: sockaddr as u64,
        sk: sk as u64,
        request,
        request_known: 1,
        succeeded: 0,
        reserved: [0; 6],
    };
    if BINDS_IN_FLIGHT.insert(bpf_get_current_pid_tgid(), bind, 0).is_err() {
        count_error(KernelError::InFlightFull);
    }
    Some(())
}

/// Whether a bind to this port is recorded if it succeeds: one that makes no listener is not.
#[inline(always)]
fn is_of_interest(port: WirePort, sk: *const c_void) -> bool {
    is_watched(port) || (has_listeners(port) && sock::is_for_datagrams::<Probed>(sk))
}
