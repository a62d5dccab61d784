//! TCP sockets that start to listen, and listeners that end.
//!
//! `sock:inet_sock_set_state` fires on every state change of a TCP socket, with
//! `(const struct sock *sk, const int oldstate, const int newstate)`, `net/core/sock.c`.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use monitor_common::{
    ports::WirePort,
    socket_event::{Mechanism, SocketEventKind, known},
};

use crate::{
    maps::has_listeners,
    sock::{self, AF_INET6, IpWords, Sock, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LISTEN},
    socket_call::{SocketCall, record, record_listener},
};

/// Raw tracepoint: needs no tracefs, and its link can be pinned on every kernel.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn listen_tracepoint(context: RawTracePointContext) -> i32 {
    let (old_state, new_state): (i32, i32) = (context.arg(1), context.arg(2));
    if new_state == i32::from(TCP_LISTEN) {
        record_state_change(&context, context.arg(0), SocketEventKind::Listen);
    } else if ends_listening(old_state, new_state) {
        record_listener_end(context.arg(0));
    }
    0
}

/// The same where kernel memory is not readable: by the tracepoint's own fields, which need its id in
/// tracefs.
#[tracepoint]
fn listen_tracepoint_fields(context: TracePointContext) -> u32 {
    let change = StateChange::of(&context);
    if change.new_state == i32::from(TCP_LISTEN) {
        change.record(&context, SocketEventKind::Listen);
    } else if ends_listening(change.old_state, change.new_state) {
        change.record_listener_end();
    }
    0
}

/// `events/sock/inet_sock_set_state/format` of tracefs, as it is since Linux 5.6.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct StateChange {
    common: u64,
    sk: u64,
    pub(crate) old_state: i32,
    pub(crate) new_state: i32,
    /// Local port, host byte order.
    local_port: u16,
    remote_port: u16,
    family: u16,
    protocol: u16,
    local_ipv4: u32,
    remote_ipv4: u32,
    local_ipv6: IpWords,
}

impl StateChange {
    /// The verifier allows direct reads of the context, field by field.
    #[inline(always)]
    pub(crate) fn of(context: &TracePointContext) -> Self {
        let at: *const Self = context.as_ptr().cast();
        // SAFETY: the context of a program on this tracepoint.
        unsafe {
            Self {
                common: 0,
                sk: 0,
                old_state: (&raw const (*at).old_state).read_volatile(),
                new_state: (&raw const (*at).new_state).read_volatile(),
                local_port: (&raw const (*at).local_port).read_volatile(),
                remote_port: 0,
                family: (&raw const (*at).family).read_volatile(),
                protocol: (&raw const (*at).protocol).read_volatile(),
                local_ipv4: (&raw const (*at).local_ipv4).read_volatile(),
                remote_ipv4: 0,
                local_ipv6: (&raw const (*at).local_ipv6).read_volatile(),
            }
        }
    }

    /// Records the change, if the port is watched or has listeners.
    #[inline(always)]
    pub(crate) fn record<C: EbpfContext>(&self, context: &C, kind: SocketEventKind) {
        if let Some(sock) = self.sock() {
            record_call(context, kind, sock);
        }
    }

    /// Reports the end of a listener.
    #[inline(always)]
    fn record_listener_end(&self) {
        if let Some(sock) = self.sock() {
            record_end(sock);
        }
    }

    #[inline(always)]
    fn sock(&self) -> Option<Sock> {
        let is_ipv6 = self.family == AF_INET6;
        let address = if is_ipv6 { self.local_ipv6 } else { [self.local_ipv4, 0, 0, 0] };
        let sock = Sock::from_fields(self.family, self.protocol, self.local_port, address);
        sock.filter(|sock| !sock.is_multipath)
    }
}

/// Records a state change of `sk`.
#[inline(always)]
pub(crate) fn record_state_change<C: EbpfContext>(
    context: &C,
    sk: *const c_void,
    kind: SocketEventKind,
) {
    // The subflow of an MPTCP socket is recorded: the MPTCP socket changes state after it, in part
    // twice.
    if let Some(mut sock) = sock::read(sk).filter(|sock| !sock.is_multipath) {
        sock.read_inode(sk);
        record_call(context, kind, sock);
    }
}

/// Reports the end of a listener, whether its port is watched or not: the socket may live on.
#[inline(always)]
fn record_listener_end(sk: *const c_void) {
    if let Some(mut sock) = sock::read(sk).filter(|sock| !sock.is_multipath) {
        sock.read_inode(sk);
        record_end(sock);
    }
}

/// Records a call; of a listen that it opens a listener.
#[inline(always)]
fn record_call<C: EbpfContext>(context: &C, kind: SocketEventKind, mut sock: Sock) {
    if matches!(kind, SocketEventKind::Listen) && has_listeners(WirePort::of(sock.port)) {
        sock.known |= known::LISTENER;
    }
    record(context, &call(kind, sock));
}

#[inline(always)]
fn record_end(mut sock: Sock) {
    if has_listeners(WirePort::of(sock.port)) {
        sock.known |= known::LISTENER;
        record_listener(&call(SocketEventKind::Close, sock));
    }
}

#[inline(always)]
fn call(kind: SocketEventKind, sock: Sock) -> SocketCall {
    SocketCall { kind, mechanism: Mechanism::Tracepoint, errno: 0, sock }
}

/// SCTP's `SCTP_SS_CLOSING` is `TCP_CLOSE_WAIT`, `include/net/sctp/constants.h`; a listener of TCP never
/// enters that state.
#[inline(always)]
pub(crate) fn ends_listening(old_state: i32, new_state: i32) -> bool {
    old_state == i32::from(TCP_LISTEN)
        && (new_state == i32::from(TCP_CLOSE) || new_state == i32::from(TCP_CLOSE_WAIT))
}
