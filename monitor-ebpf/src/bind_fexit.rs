//! Binds by trampoline on return from the kernel's bind functions: every caller, io_uring among
//! them, with request and result in one place.
//!
//! - `int inet_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`,
//!   `net/ipv4/af_inet.c`
//! - `int inet6_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`,
//!   `net/ipv6/af_inet6.c`

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::fexit, programs::FExitContext};
use monitor_common::socket_event::Mechanism;

use crate::{
    sock::offset,
    socket_call::{Sockaddr, record_bind},
    task::member,
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

#[inline(always)]
fn on_return(context: &FExitContext) {
    let socket: *const c_void = context.arg(0);
    let sockaddr: *const c_void = context.arg(1);
    // The value returned follows the arguments; `bpf_get_func_ret` is newer (5.17).
    let returned: i32 = context.arg(3);
    let Some(request) = read_kernel_sockaddr(sockaddr as u64) else {
        return;
    };
    let Some(sk) = member(socket, offset!(socket_sk)) else {
        return;
    };
    record_bind(context, Mechanism::Fexit, sk, &request, returned);
}

/// Below the system call the address is in kernel memory.
#[inline(always)]
pub(crate) fn read_kernel_sockaddr(at: u64) -> Option<Sockaddr> {
    // SAFETY: the helper checks the address.
    Sockaddr::read(at, |at| unsafe { bpf_probe_read_kernel(at as *const u64) }.ok())
}
