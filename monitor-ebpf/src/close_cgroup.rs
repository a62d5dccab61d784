//! Released ports, by the cgroup hook in `inet_release` (Linux 5.9).
//!
//! `BPF_CGROUP_RUN_PROG_INET_SOCK_RELEASE(sk)`, `net/ipv4/af_inet.c`; not called for sockets of
//! the kernel itself. The context is the `struct sock`.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, macros::cgroup_sock, programs::SockContext};
use monitor_common::socket_event::Mechanism;

use crate::{
    access::Probed,
    socket_call::{may_hold_port, record_release},
};

/// Every internet socket that is released.
#[cgroup_sock(sock_release)]
fn close_cgroup(context: SockContext) -> i32 {
    let sk: *const c_void = context.as_ptr();
    if may_hold_port::<Probed>(sk) {
        record_release::<Probed, _>(&context, Mechanism::Cgroup, sk);
    }
    1
}
