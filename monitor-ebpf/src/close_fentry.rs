//! Sockets that give a port back, by trampoline on entry of their release: once it returns there
//! is no socket to read.
//!
//! `int inet_release(struct socket *sock)`, `net/ipv4/af_inet.c`; `inet6_release` calls it.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, macros::fentry, programs::FEntryContext};
use monitor_common::socket_event::Mechanism;

use crate::{
    sock::{self, offset},
    socket_call::record_release,
    task::member,
};

/// Entry of `inet_release`.
#[fentry(function = "inet_release")]
fn close_fentry(context: FEntryContext) -> u32 {
    let socket: *const c_void = context.arg(0);
    on_release(&context, Mechanism::Fexit, socket);
    0
}

/// The subflow of an MPTCP socket is a socket of the kernel and released as such: it tells for
/// both. The cgroup hook sees no sockets of the kernel; there the MPTCP socket itself tells.
#[inline(always)]
pub(crate) fn on_release<C: EbpfContext>(context: &C, mechanism: Mechanism, socket: *const c_void) {
    let sk = member(socket, offset!(socket_sk));
    if let Some(sk) = sk.filter(|sk| sock::read(*sk).is_some_and(|sock| !sock.is_multipath)) {
        record_release(context, mechanism, sk);
    }
}
