//! TCP sockets that begin to listen.
//!
//! `sock:inet_sock_set_state` fires on every state change of a TCP socket, with
//! `(const struct sock *sk, const int oldstate, const int newstate)`, `net/core/sock.c`.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, macros::raw_tracepoint, programs::RawTracePointContext};
use monitor_common::socket_event::{Mechanism, SocketEventKind};

use crate::{
    sock::{self, TCP_LISTEN},
    socket_call::{SocketCall, record},
};

/// Raw tracepoint: needs no tracefs, and its link can be pinned on every kernel.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn listen_tracepoint(context: RawTracePointContext) -> i32 {
    let new_state: i32 = context.arg(2);
    if new_state == i32::from(TCP_LISTEN) {
        record_state_change(&context, context.arg(0), SocketEventKind::Listen);
    }
    0
}

/// Records a state change of `sk`.
#[inline(always)]
pub(crate) fn record_state_change<C: EbpfContext>(
    context: &C,
    sk: *const c_void,
    kind: SocketEventKind,
) {
    // Of an MPTCP socket the subflow tells: its own state follows, some of it twice.
    if let Some(sock) = sock::read(sk).filter(|sock| !sock.is_multipath) {
        let mechanism = Mechanism::Tracepoint;
        record(context, &SocketCall { kind, mechanism, errno: 0, sock });
    }
}
