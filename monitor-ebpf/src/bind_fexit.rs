//! Binds by trampoline on return from the kernel's bind functions: every caller, io_uring among
//! them, with request and result in one place.
//!
//! - `int inet_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`,
//!   `net/ipv4/af_inet.c`
//! - `int inet6_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`,
//!   `net/ipv6/af_inet6.c`
//! - `int inet_bind_sk(struct sock *sk, struct sockaddr *uaddr, int addr_len)` and
//!   `inet6_bind_sk`, in the same files since Linux 6.6. The functions above call them, and so does
//!   MPTCP for a subflow, which before went through the functions above. So these programs record
//!   subflows alone.

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::fexit, programs::FExitContext};
use monitor_common::socket_event::Mechanism;

use crate::{
    access::{Access as _, Typed},
    sock::{self, offset},
    sockaddr::Sockaddr,
    socket_call::record_bind,
};

/// IPv4.
#[fexit(function = "inet_bind")]
fn bind_fexit_inet(context: FExitContext) -> u32 {
    on_return(&context);
    0
}

/// IPv6, dual-stack sockets included.
#[fexit(function = "inet6_bind")]
fn bind_fexit_inet6(context: FExitContext) -> u32 {
    on_return(&context);
    0
}

/// IPv4, subflows of MPTCP sockets.
#[fexit(function = "inet_bind_sk")]
fn bind_fexit_inet_sk(context: FExitContext) -> u32 {
    on_return_with_sk(&context);
    0
}

/// IPv6, subflows of MPTCP sockets.
#[fexit(function = "inet6_bind_sk")]
fn bind_fexit_inet6_sk(context: FExitContext) -> u32 {
    on_return_with_sk(&context);
    0
}

#[inline(always)]
fn on_return(context: &FExitContext) {
    let socket: *const c_void = context.arg(0);
    if let Some(sk) = Typed::member(socket, offset!(socket_sk)) {
        on_bound(context, sk);
    }
}

#[inline(always)]
fn on_return_with_sk(context: &FExitContext) {
    let sk: *const c_void = context.arg(0);
    if sock::is_subflow::<Typed>(sk) {
        on_bound(context, sk);
    }
}

#[inline(always)]
fn on_bound(context: &FExitContext, sk: *const c_void) {
    let sockaddr: *const c_void = context.arg(1);
    // The value returned follows the arguments; `bpf_get_func_ret` is newer (5.17).
    let returned: i32 = context.arg(3);
    // After success the socket has its address and port.
    let request =
        if returned == 0 { Some(Sockaddr::NONE) } else { read_kernel_sockaddr(sockaddr as u64) };
    if let Some(request) = request {
        record_bind::<Typed, _>(context, Mechanism::Fexit, sk, &request, returned);
    }
}

/// Below the system call the address is in kernel memory.
#[inline(always)]
pub(crate) fn read_kernel_sockaddr(at: u64) -> Option<Sockaddr> {
    // SAFETY: the helper checks the address.
    Sockaddr::read(at, |at| unsafe { bpf_probe_read_kernel(at as *const u64) }.ok())
}
