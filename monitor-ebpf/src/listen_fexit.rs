//! TCP sockets that begin to listen, by trampoline on return from the kernel's function: every caller,
//! with the result, and with the port that the kernel has chosen for a socket without one.
//!
//! `int inet_csk_listen_start(struct sock *sk)`, `net/ipv4/inet_connection_sock.c`; until Linux 5.16 with
//! `int backlog` behind it. [`crate::listen_tracepoint`] keeps the socket meanwhile.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use monitor_common::socket_event::Mechanism;

use crate::listen_tracepoint::finish;

/// The value returned follows the only argument.
#[fexit(function = "inet_csk_listen_start")]
fn listen_fexit(context: FExitContext) -> u32 {
    let returned: i32 = context.arg(1);
    finish(&context, Mechanism::Fexit, returned);
    0
}

/// The value returned follows two arguments.
#[fexit(function = "inet_csk_listen_start")]
fn listen_fexit_backlog(context: FExitContext) -> u32 {
    let returned: i32 = context.arg(2);
    finish(&context, Mechanism::Fexit, returned);
    0
}
