//! Sockets that give a port back, by trampoline on entry of their release: once it returns there
//! is no socket to read.
//!
//! `int inet_release(struct socket *sock)`, `net/ipv4/af_inet.c`; `inet6_release` calls it.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, macros::fentry, programs::FEntryContext};
use monitor_common::socket_event::{Mechanism, SocketEventKind};

use crate::{
    sock::{self, offset},
    socket_call::{SocketCall, record},
    task::member,
};

/// Entry of `inet_release`.
#[fentry(function = "inet_release")]
fn close_fentry(context: FEntryContext) -> u32 {
    let socket: *const c_void = context.arg(0);
    if let Some(sk) = member(socket, offset!(socket_sk)) {
        record_release(&context, Mechanism::Fexit, sk);
    }
    0
}

/// Records the release of `sk`, if a port goes with it.
#[inline(always)]
pub(crate) fn record_release<C: EbpfContext>(context: &C, mechanism: Mechanism, sk: *const c_void) {
    let Some(sock) = sock::read(sk) else {
        return;
    };
    if sock::holds_port(sk, &sock) {
        let kind = SocketEventKind::Close;
        record(context, &SocketCall { kind, mechanism, errno: 0, sock });
    }
}
