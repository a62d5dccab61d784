//! Sockets that begin to listen, and listeners that end, by the tracepoint of state changes.
//!
//! `sock:inet_sock_set_state` fires on every state change of a TCP or SCTP socket, with
//! `(const struct sock *sk, const int oldstate, const int newstate)`, `net/core/sock.c`.
//!
//! A socket enters the listening state before the kernel knows whether it may listen, and before it has
//! chosen a port for a socket without one (`inet_csk_listen_start`,
//! `net/ipv4/inet_connection_sock.c`). So the listen is kept in [`LISTENS_IN_FLIGHT`] until the call
//! returns, which is seen by [`crate::listen_fexit`], [`crate::listen_kprobe`] or the tracepoints of the
//! system call. A listen that is refused leaves the state again.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use monitor_common::{
    errors::KernelError,
    flow::Protocol,
    ports::WirePort,
    socket_event::{Mechanism, SocketEventKind, known},
};

use crate::{
    maps::{LISTENS_IN_FLIGHT, count_error, has_listeners},
    sock::{self, AF_INET6, IpWords, Sock, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LISTEN},
    socket_call::{SocketCall, record, record_listener},
};

/// Beside a program at the return of `inet_csk_listen_start`. Raw tracepoint: needs no tracefs, and its
/// link can be pinned on every kernel.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn listen_states(context: RawTracePointContext) -> i32 {
    let sk: *const c_void = context.arg(0);
    let (old_state, new_state): (i32, i32) = (context.arg(1), context.arg(2));
    if new_state == i32::from(TCP_LISTEN) {
        begin(&context, sk);
    } else if ends_listening(old_state, new_state) {
        end(sk);
    }
    0
}

/// Beside the tracepoints of the system call, or without them: then the beginning is all that is seen.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn listen_tracepoint(context: RawTracePointContext) -> i32 {
    let sk: *const c_void = context.arg(0);
    let (old_state, new_state): (i32, i32) = (context.arg(1), context.arg(2));
    if new_state == i32::from(TCP_LISTEN) {
        begin_in_call(&context, sk);
    } else if ends_listening(old_state, new_state) {
        end(sk);
    }
    0
}

/// `syscalls:sys_enter_listen`.
#[tracepoint]
fn listen_tracepoint_enter(_context: TracePointContext) -> u32 {
    store(0);
    0
}

/// `syscalls:sys_exit_listen`.
#[tracepoint]
fn listen_tracepoint_exit(context: TracePointContext) -> u32 {
    /// Offset of the value returned, `events/syscalls/sys_exit_listen/format`.
    const RET: usize = 16;
    // SAFETY: the offset is that of a word of the context of a running program.
    let returned = unsafe { context.as_ptr().byte_add(RET).cast::<i64>().read_volatile() };
    finish(&context, Mechanism::Tracepoint, returned as i32);
    0
}

/// State changes where kernel memory is not readable: by the tracepoint's own fields, which need its id
/// in tracefs.
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

/// Keeps a TCP listen until it returns. One of SCTP is recorded: no program sees its return.
#[inline(always)]
fn begin<C: EbpfContext>(context: &C, sk: *const c_void) {
    // The subflow of an MPTCP socket is recorded: the MPTCP socket changes state after it, in part
    // twice.
    let Some(mut sock) = sock::read(sk).filter(|sock| !sock.is_multipath) else { return };
    if matches!(sock.protocol, Protocol::Tcp) {
        store(sk as u64);
    } else {
        sock.read_inode(sk);
        record_call(context, Mechanism::Tracepoint, SocketEventKind::Listen, sock);
    }
}

/// Keeps a listen that a traced system call makes until that returns. Any other (io_uring, a 32-bit
/// program, the kernel itself) is recorded: no program sees its return.
#[inline(always)]
fn begin_in_call<C: EbpfContext>(context: &C, sk: *const c_void) {
    let Some(mut sock) = sock::read(sk).filter(|sock| !sock.is_multipath) else { return };
    if let Some(in_flight) = LISTENS_IN_FLIGHT.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread uses the element.
        unsafe { in_flight.write(sk as u64) };
        return;
    }
    sock.read_inode(sk);
    record_call(context, Mechanism::Tracepoint, SocketEventKind::Listen, sock);
}

#[inline(always)]
fn store(sk: u64) {
    if LISTENS_IN_FLIGHT.insert(bpf_get_current_pid_tgid(), sk, 0).is_err() {
        count_error(KernelError::InFlightFull);
    }
}

/// Records the listen of this thread that returns now, unless it was refused or changed nothing.
#[inline(always)]
pub(crate) fn finish<C: EbpfContext>(context: &C, mechanism: Mechanism, returned: i32) {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread uses the element.
    let Some(sk) = (unsafe { LISTENS_IN_FLIGHT.get(thread) }).copied() else { return };
    let _ = LISTENS_IN_FLIGHT.remove(thread);
    if returned != 0 || sk == 0 {
        return;
    }
    let sk = sk as *const c_void;
    if let Some(mut sock) = sock::read(sk) {
        sock.read_inode(sk);
        record_call(context, mechanism, SocketEventKind::Listen, sock);
    }
}

/// Reports the end of a listener, whether its port is watched or not: the socket may live on. A listen
/// that is refused ends no listener.
#[inline(always)]
fn end(sk: *const c_void) {
    if let Some(in_flight) = LISTENS_IN_FLIGHT.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread uses the element.
        return unsafe { in_flight.write(0) };
    }
    if let Some(sock) = read_ended(sk) {
        record_end(sock);
    }
}

/// A socket that has left the listening state. A port of the kernel's choice it has lost before
/// (`tcp_set_state`, `net/ipv4/tcp.c`).
#[inline(always)]
fn read_ended(sk: *const c_void) -> Option<Sock> {
    let mut sock = sock::read(sk).filter(|sock| !sock.is_multipath)?;
    if sock.port == 0 {
        sock.port = sock::last_port_of(sk);
    }
    sock.read_inode(sk);
    Some(sock)
}

/// Whether this thread is within a listen, which ends no listener: the kernel refuses it.
#[inline(always)]
pub(crate) fn is_in_flight() -> bool {
    // SAFETY: the element is tested for presence and not read.
    unsafe { LISTENS_IN_FLIGHT.get(bpf_get_current_pid_tgid()) }.is_some()
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
            record_call(context, Mechanism::Tracepoint, kind, sock);
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

/// Records that `sk` has left the listening state as its close.
#[inline(always)]
pub(crate) fn record_close<C: EbpfContext>(context: &C, sk: *const c_void) {
    if let Some(sock) = read_ended(sk) {
        record_call(context, Mechanism::Tracepoint, SocketEventKind::Close, sock);
    }
}

/// Records a call; of a listen that it opens a listener.
#[inline(always)]
fn record_call<C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    kind: SocketEventKind,
    mut sock: Sock,
) {
    if matches!(kind, SocketEventKind::Listen) && has_listeners(WirePort::of(sock.port)) {
        sock.known |= known::LISTENER;
    }
    record(context, &SocketCall { kind, mechanism, errno: 0, sock });
}

#[inline(always)]
fn record_end(mut sock: Sock) {
    if has_listeners(WirePort::of(sock.port)) {
        sock.known |= known::LISTENER;
        let (kind, mechanism) = (SocketEventKind::Close, Mechanism::Tracepoint);
        record_listener(&SocketCall { kind, mechanism, errno: 0, sock });
    }
}

/// SCTP's `SCTP_SS_CLOSING` is `TCP_CLOSE_WAIT`, `include/net/sctp/constants.h`; a listener of TCP never
/// enters that state.
#[inline(always)]
pub(crate) fn ends_listening(old_state: i32, new_state: i32) -> bool {
    old_state == i32::from(TCP_LISTEN)
        && (new_state == i32::from(TCP_CLOSE) || new_state == i32::from(TCP_CLOSE_WAIT))
}
