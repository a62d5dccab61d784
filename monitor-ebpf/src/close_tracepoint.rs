//! Listeners of TCP and SCTP that close, by the tracepoint of [`crate::listen_tracepoint`]. It sees neither
//! sockets of datagrams nor others that never listened.

use aya_ebpf::{
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use monitor_common::socket_event::SocketEventKind;

use crate::listen_tracepoint::{StateChange, ends_listening, is_in_flight, record_close};

/// From listening to closed.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn close_tracepoint(context: RawTracePointContext) -> i32 {
    let (old_state, new_state): (i32, i32) = (context.arg(1), context.arg(2));
    if ends_listening(old_state, new_state) && !is_in_flight() {
        record_close(&context, context.arg(0));
    }
    0
}

/// The same where kernel memory is not readable.
#[tracepoint]
fn close_tracepoint_fields(context: TracePointContext) -> u32 {
    let change = StateChange::of(&context);
    if ends_listening(change.old_state, change.new_state) {
        change.record(&context, SocketEventKind::Close);
    }
    0
}
