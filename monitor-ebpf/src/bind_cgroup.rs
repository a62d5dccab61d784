//! Successful binds by the cgroup hooks that run once the port was got: below the system call, so
//! that io_uring is seen, and with the real port. Refusals never get here.
//!
//! `BPF_CGROUP_RUN_PROG_INET4_POST_BIND(sk)` in `__inet_bind`, `net/ipv4/af_inet.c`, and its twin
//! in `net/ipv6/af_inet6.c`. The context of these programs is the `struct sock` itself.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext, helpers::bpf_get_current_pid_tgid, macros::cgroup_sock, programs::SockContext,
};
use monitor_common::socket_event::Mechanism;

use crate::{
    maps::BINDS_IN_FLIGHT,
    socket_call::{Sockaddr, record_bind},
};

/// Let the call go on; 0 would refuse it.
const ALLOW: i32 = 1;

/// IPv4.
#[cgroup_sock(post_bind4)]
fn bind_cgroup_post4(context: SockContext) -> i32 {
    on_bound(&context);
    ALLOW
}

/// IPv6, dual-stack sockets included.
#[cgroup_sock(post_bind6)]
fn bind_cgroup_post6(context: SockContext) -> i32 {
    on_bound(&context);
    ALLOW
}

/// Inside a traced system call its return tells the event, because another program may still
/// refuse the bind. Without one (io_uring) this is the only witness.
#[inline(always)]
fn on_bound(context: &SockContext) {
    let sk: *const c_void = context.as_ptr();
    if let Some(bind) = BINDS_IN_FLIGHT.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread uses the element.
        unsafe {
            (*bind).sk = sk as u64;
            (*bind).succeeded = 1;
        }
        return;
    }
    record_bind(context, Mechanism::Cgroup, sk, &Sockaddr::NONE, 0);
}
