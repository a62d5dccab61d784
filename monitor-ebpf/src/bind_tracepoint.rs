//! Binds by the tracepoints of the system call, which every kernel has and io_uring bypasses.
//!
//! With [`crate::bind_cgroup`] attached as well, a success that it saw is recorded as its own; the
//! return adds the refused binds with their error numbers.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user},
    macros::tracepoint,
    programs::TracePointContext,
};
use aya_log_ebpf::warn;
use monitor_common::{errors::KernelError, ports::WirePort, socket_event::Mechanism};

use crate::{
    access::Probed,
    maps::{BINDS_IN_FLIGHT, binds_are_seen_at_return, count_error, has_listeners, is_watched},
    sockaddr::{BindInFlight, Sockaddr},
    socket_call::record_bind,
    task,
};

/// Offsets of the arguments, `events/syscalls/sys_enter_bind/format` of tracefs.
const FD: usize = 16;
const UMYADDR: usize = 24;
/// Offset of the value returned, `events/syscalls/sys_exit_bind/format`.
const RET: usize = 16;

/// `syscalls:sys_enter_bind`.
#[tracepoint]
fn bind_tracepoint_enter(context: TracePointContext) -> u32 {
    let _ = on_enter(&context);
    0
}

/// `syscalls:sys_exit_bind`.
#[tracepoint]
fn bind_tracepoint_exit(context: TracePointContext) -> u32 {
    let _ = on_exit(&context);
    0
}

#[inline(always)]
fn on_enter(context: &TracePointContext) -> Option<()> {
    let sockaddr = field(context, UMYADDR);
    let request = read_user_sockaddr(sockaddr);
    let request_known = request.is_some();
    // Unwrapped at once, so that an empty request is not copied around.
    let request = request.unwrap_or_default();
    if request_known && !is_candidate(&request) {
        return None;
    }
    // At entry: when the call returns, another thread may have replaced the descriptor.
    let sk = task::sock_of_descriptor(field(context, FD) as u32);
    let bind = BindInFlight {
        sockaddr,
        sk: sk.map_or(0, |sk| sk as u64),
        request,
        request_known: u8::from(request_known),
        succeeded: 0,
        reserved: [0; 6],
    };
    if BINDS_IN_FLIGHT.insert(bpf_get_current_pid_tgid(), bind, 0).is_err() {
        count_error(KernelError::InFlightFull);
    }
    Some(())
}

#[inline(always)]
fn on_exit(context: &TracePointContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread's entry and return use the element.
    let bind = unsafe { BINDS_IN_FLIGHT.get(thread) }.copied()?;
    let _ = BINDS_IN_FLIGHT.remove(thread);
    let returned = field(context, RET).cast_signed();
    // After a success that the hook saw, the socket has its address and port.
    let (mechanism, request) = if bind.succeeded != 0 && returned == 0 {
        (Mechanism::Cgroup, Sockaddr::NONE)
    } else {
        (Mechanism::Tracepoint, request(context, &bind, returned)?)
    };
    let sk = bind.sk as *const c_void;
    record_bind::<Probed, _>(context, mechanism, sk, &request, returned as i32);
    Some(())
}

/// The requested address. Memory that was not resident at entry is resident now, because the kernel
/// has copied the address, unless the kernel could not read it either.
#[inline(always)]
fn request(context: &TracePointContext, bind: &BindInFlight, returned: i64) -> Option<Sockaddr> {
    const EFAULT: i64 = 14;
    if bind.request_known != 0 {
        return Some(bind.request);
    }
    let request = read_user_sockaddr(bind.sockaddr);
    if request.is_none() && returned != -EFAULT {
        count_error(KernelError::AddressUnreadable);
        warn!(context, "the address of a bind cannot be read");
    }
    request.filter(is_candidate)
}

/// A field of the tracepoint. The verifier allows direct reads of the context.
#[inline(always)]
fn field(context: &TracePointContext, offset: usize) -> u64 {
    // SAFETY: the offset is that of a word of the context of a running program.
    unsafe { context.as_ptr().byte_add(offset).cast::<u64>().read_volatile() }
}

/// Port 0 may land on a watched port. A bind that makes a listener is seen by the cgroup hook, where it is
/// attached.
#[inline(always)]
fn is_candidate(request: &Sockaddr) -> bool {
    let port = WirePort::of(request.port());
    let is_of_interest =
        || port.0 == 0 || is_watched(port) || (has_listeners(port) && binds_are_seen_at_return());
    request.is_internet() && is_of_interest()
}

#[inline(always)]
fn read_user_sockaddr(at: u64) -> Option<Sockaddr> {
    // SAFETY: the helper checks the address.
    Sockaddr::read(at, |at| unsafe { bpf_probe_read_user(at as *const u64) }.ok())
}
