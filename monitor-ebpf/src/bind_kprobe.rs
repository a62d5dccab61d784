//! Binds by kprobe and kretprobe on the functions of [`crate::bind_fexit`], for kernels without
//! trampolines. The entry keeps what the return needs, and the first return takes it: where one of
//! the functions has called another, both return the same.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use monitor_common::{errors::KernelError, ports::WirePort, socket_event::Mechanism};

use crate::{
    access::{Access as _, Probed},
    bind_fexit::{on_bound, read_kernel_sockaddr},
    maps::{BINDS_IN_FLIGHT, count_error, is_watched},
    sock::{self, offset},
    socket_call::BindInFlight,
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
    let bind = unsafe { BINDS_IN_FLIGHT.get(thread) };
    let Some((sk, sockaddr)) = bind.map(|bind| (bind.sk, bind.sockaddr)) else {
        return 0;
    };
    let _ = BINDS_IN_FLIGHT.remove(thread);
    let sk = sk as *const c_void;
    on_bound::<Probed, _>(&context, Mechanism::Kprobe, sk, sockaddr, context.ret());
    0
}

#[inline(always)]
fn on_entry(context: &ProbeContext) -> Option<()> {
    let socket: *const c_void = context.arg(0)?;
    keep(context, Probed::member(socket, offset!(socket_sk))?)
}

#[inline(always)]
fn on_entry_with_sk(context: &ProbeContext) -> Option<()> {
    let sk: *const c_void = context.arg(0)?;
    if !sock::is_subflow::<Probed>(sk) {
        return None;
    }
    keep(context, sk)
}

#[inline(always)]
fn keep(context: &ProbeContext, sk: *const c_void) -> Option<()> {
    let sockaddr: *const c_void = context.arg(1)?;
    let requested = read_kernel_sockaddr(sockaddr as u64)?.port();
    if requested != 0 && !is_watched(WirePort::of(requested)) {
        return None;
    }
    let (sockaddr, sk) = (sockaddr as u64, sk as u64);
    let bind = BindInFlight { sockaddr, sk, ..BindInFlight::default() };
    if BINDS_IN_FLIGHT.insert(bpf_get_current_pid_tgid(), bind, 0).is_err() {
        count_error(KernelError::InFlightFull);
    }
    Some(())
}
