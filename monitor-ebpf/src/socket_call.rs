//! What all socket hooks do with a call on a watched port: count it, and tell userspace.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_uid_gid,
        generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns},
    },
};
use aya_log_ebpf::debug;
use monitor_common::{
    errors::KernelError,
    flow::Protocol,
    ports::WirePort,
    socket_event::{
        BindResult, Mechanism, SocketCounters, SocketEvent, SocketEventKind,
        SocketEventWithCommandLine, known,
    },
};

use crate::{
    access::{Access, Probed},
    maps::{
        AUTOMATIC_BINDS, EVENTS, SOCKET_COUNTERS, add_atomic, count_error, index_of, is_watched,
        wakeup,
    },
    sock::{self, IpWords, Members, Sock},
    task::{Arguments, Caller, CommandLine},
};

/// A bind between its entry and its return.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BindInFlight {
    /// The caller's sockaddr: in user memory for a syscall, in kernel memory below it.
    pub(crate) sockaddr: u64,
    /// `struct sock` of the socket, 0 if not known.
    pub(crate) sk: u64,
    /// What was asked for, once `request_known` is 1.
    pub(crate) request: Sockaddr,
    pub(crate) request_known: u8,
    /// 1 once the cgroup hook saw the bind succeed.
    pub(crate) succeeded: u8,
    pub(crate) reserved: [u8; 6],
}

/// A finished socket call.
pub(crate) struct SocketCall {
    pub(crate) kind: SocketEventKind,
    pub(crate) mechanism: Mechanism,
    pub(crate) errno: u32,
    pub(crate) sock: Sock,
}

/// `struct sockaddr_in` and the head of `struct sockaddr_in6`, which share their first four bytes.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Sockaddr {
    family: u16,
    port: [u8; 2],
    /// `sin_addr`, or `sin6_flowinfo`.
    word: u32,
    /// `sin6_addr`.
    address: IpWords,
}

impl Sockaddr {
    /// Nothing asked for, nothing known.
    pub(crate) const NONE: Self = Self { family: 0, port: [0; 2], word: 0, address: [0; 4] };

    /// Reads a sockaddr with a helper that reads kernel or user memory. An IPv4 address may be the
    /// last sixteen bytes that can be read.
    #[inline(always)]
    pub(crate) fn read(at: u64, read_word: impl Fn(u64) -> Option<u64>) -> Option<Self> {
        let [family_low, family_high, port_high, port_low, a, b, c, d] =
            read_word(at)?.to_ne_bytes();
        let mut sockaddr = Self {
            family: u16::from_ne_bytes([family_low, family_high]),
            port: [port_high, port_low],
            word: u32::from_ne_bytes([a, b, c, d]),
            address: [0; 4],
        };
        if sockaddr.family == sock::AF_INET6 {
            let words = [read_word(at + 8)?, read_word(at + 16)?];
            sockaddr.address = bytemuck::cast(words);
        }
        Some(sockaddr)
    }

    /// Address in the form of a record, for a socket of family 4 or 6.
    #[inline(always)]
    fn address(&self) -> IpWords {
        if self.family == sock::AF_INET6 { self.address } else { [self.word, 0, 0, 0] }
    }

    /// Whether its address is one of the socket's own family.
    #[inline(always)]
    fn is_of(&self, family: u8) -> bool {
        (self.family == sock::AF_INET6) == (family == 6)
    }

    /// Port, host byte order.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// Whether a bind with it can be one to an internet port. `AF_UNSPEC` is accepted for IPv4,
    /// `__inet_bind` in `net/ipv4/af_inet.c`.
    #[inline(always)]
    pub(crate) fn is_internet(&self) -> bool {
        const AF_UNSPEC: u16 = 0;
        matches!(self.family, AF_UNSPEC | sock::AF_INET | sock::AF_INET6)
    }
}

/// Records how a bind of `sk` ended.
///
/// The kernel sets the socket's own port only once it has got it: after a refusal the port is the
/// one that was asked for, after success the one that is held (port 0 asks for any).
#[inline(always)]
pub(crate) fn record_bind<A: Access, C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    sk: *const c_void,
    request: &Sockaddr,
    returned: i32,
) {
    let errno = returned.unsigned_abs();
    let port = if errno == 0 { sock::port_of::<A>(sk) } else { Some(request.port()) };
    // Nearly every bind ends here, before the rest of the socket is read.
    if !port.is_some_and(|port| is_watched(WirePort::of(port))) {
        return;
    }
    let mut members = Members::<A>::of(sk);
    let Some(mut sock) = members.read() else {
        return;
    };
    if errno != 0 {
        sock.port = request.port();
        sock.known &= !known::ADDRESS;
        if request.is_of(sock.family) {
            sock.address = request.address();
            sock.known |= known::ADDRESS;
        }
    }
    if errno == 0 && members.has_named_port() == Some(false) {
        note_automatic_port(sk, &sock, mechanism);
    }
    let kind = SocketEventKind::Bind;
    record(context, &SocketCall { kind, mechanism, errno, sock });
}

/// Notes a bind to a watched port of the kernel's choice, for [`record_release`]; with tracepoints
/// there is none.
#[inline(always)]
fn note_automatic_port(sk: *const c_void, sock: &Sock, mechanism: Mechanism) {
    if matches!(mechanism, Mechanism::Tracepoint) {
        return;
    }
    // It is the MPTCP socket that will be released, not its subflow.
    let released = sock::owner_of::<Probed>(sk).unwrap_or(sk);
    // A map of this kind makes room by itself.
    let _ = AUTOMATIC_BINDS.insert(released as u64, sock.port, 0);
}

/// Whether a watched port may go with `sk`: nearly every socket that is released has another one, or
/// none. A connection that was reset has lost its port before it is closed.
#[inline(always)]
pub(crate) fn may_hold_watched_port<A: Access>(sk: *const c_void) -> bool {
    match sock::port_of::<A>(sk) {
        // SAFETY: whether the element is there is all that is asked.
        Some(0) => unsafe { AUTOMATIC_BINDS.get(sk as u64) }.is_some(),
        Some(port) => is_watched(WirePort::of(port)),
        None => false,
    }
}

/// Records the release of `sk`, of which [`may_hold_watched_port`] is true, if a port goes with it
/// that the socket was bound to.
#[inline(always)]
pub(crate) fn record_release<A: Access, C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    sk: *const c_void,
) {
    let mut members = Members::<A>::of(sk);
    let Some(mut sock) = members.read() else {
        return;
    };
    if let Some(port) = take_automatic_port(sk, sock.port) {
        sock.port = port;
    } else if !members.holds_port(&sock) {
        return;
    }
    let kind = SocketEventKind::Close;
    record(context, &SocketCall { kind, mechanism, errno: 0, sock });
}

/// The port that the kernel chose when `sk` was bound; any other port that it has now is one of an
/// earlier socket at the same address.
#[inline(always)]
fn take_automatic_port(sk: *const c_void, now: u16) -> Option<u16> {
    // SAFETY: the value is read once, and a socket that is released is nobody else's.
    let port = unsafe { AUTOMATIC_BINDS.get(sk as u64) }.copied()?;
    let _ = AUTOMATIC_BINDS.remove(sk as u64);
    (now == 0 || now == port).then_some(port)
}

/// Counts a call on a watched port and sends it to userspace.
#[inline(always)]
pub(crate) fn record<C: EbpfContext>(context: &C, call: &SocketCall) {
    if !is_watched(WirePort::of(call.sock.port)) {
        return;
    }
    count(call);
    if send(call) {
        debug!(context, "socket call on port {}, errno {}", call.sock.port, call.errno);
    } else {
        // Counted, not logged: whoever fills the ring would fill the log as well.
        count_error(KernelError::RingFull);
    }
}

#[inline(always)]
fn count(call: &SocketCall) {
    let counters = index_of(WirePort::of(call.sock.port))
        .and_then(|index| SOCKET_COUNTERS.get_value_ptr_mut(0, &index));
    let Some(counters) = counters else {
        return count_error(KernelError::SlotMissing);
    };
    add_atomic(counter(counters.cast(), call), 1);
}

/// The counter of a call.
#[inline(always)]
fn counter(counters: *mut SocketCounters, call: &SocketCall) -> *mut u64 {
    // SAFETY: the pointer is to a map value of this type; only addresses are taken.
    unsafe {
        match (call.kind, call.sock.protocol) {
            (SocketEventKind::Bind, protocol) => {
                let result = BindResult::from_errno(call.errno);
                let binds = &raw mut (*counters).binds;
                binds.cast::<u64>().add(protocol as usize * BindResult::COUNT + result as usize)
            }
            (SocketEventKind::Listen, _) => &raw mut (*counters).listens,
            (SocketEventKind::Close, protocol) => {
                (&raw mut (*counters).closes).cast::<u64>().add(protocol as usize)
            }
        }
    }
}

/// Sends a call to userspace; false when the ring buffer is full. A close goes without the caller's
/// command line: most happen at the end of a process, which has given its memory back by then.
#[inline(always)]
fn send(call: &SocketCall) -> bool {
    let arguments = Arguments::of_caller();
    if matches!(call.kind, SocketEventKind::Close) {
        return send_alone(call, arguments);
    }
    match CommandLine::of(arguments) {
        Some(command_line) => send_with(call, arguments, command_line),
        None => send_alone(call, arguments),
    }
}

#[inline(always)]
fn send_with(call: &SocketCall, arguments: Arguments, command_line: CommandLine) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<SocketEventWithCommandLine>(0) else {
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is of this type; only addresses are taken.
    let (event, room) = unsafe { (&raw mut (*record).event, &raw mut (*record).command_line) };
    let known = if command_line.copy_to(room) { known::COMMAND_LINE } else { 0 };
    write(event, call, arguments, command_line.len(), known);
    entry.submit(wakeup(&EVENTS, size_of::<SocketEventWithCommandLine>()));
    true
}

#[inline(always)]
fn send_alone(call: &SocketCall, arguments: Arguments) -> bool {
    let Some(mut entry) = EVENTS.reserve(0) else {
        return false;
    };
    write(entry.as_mut_ptr(), call, arguments, 0, 0);
    entry.submit(wakeup(&EVENTS, size_of::<SocketEvent>()));
    true
}

/// Writes the record of a call, with everything about the caller that is known at this moment.
#[inline(always)]
fn write(
    event: *mut SocketEvent,
    call: &SocketCall,
    arguments: Arguments,
    command_line_len: u32,
    known: u16,
) {
    let uid_gid = bpf_get_current_uid_gid();
    let caller = Caller::read();
    let known = known
        | call.sock.known
        | caller.effective_uid.flag(known::EFFECTIVE_UID)
        | caller.process_name.flag(known::PROCESS_NAME)
        | caller.parent_tgid.flag(known::PARENT)
        | caller.start_time_ns.flag(known::START_TIME);
    let record = SocketEvent {
        // SAFETY: the helpers take no arguments.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
        // SAFETY: as above.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        start_time_ns: caller.start_time_ns.value,
        tgid: caller.tgid,
        pid: caller.pid,
        uid: uid_gid as u32,
        gid: (uid_gid >> 32) as u32,
        effective_uid: caller.effective_uid.value,
        netns_inode: call.sock.netns_inode,
        errno: call.errno,
        parent_tgid: caller.parent_tgid.value,
        command_line_len,
        port: call.sock.port,
        kind: call.kind as u8,
        protocol: ip_number(call.sock.protocol),
        address: bytemuck::cast(call.sock.address),
        thread_name: bytemuck::cast(caller.thread_name),
        process_name: bytemuck::cast(caller.process_name.value),
        known,
        family: call.sock.family,
        mechanism: call.mechanism as u8,
        arguments_at: arguments.start as u32,
    };
    // SAFETY: the pointer is to a reserved entry of the ring buffer, which has room for it.
    unsafe { event.write(record) };
}

/// Number of a transport protocol in a record.
#[inline(always)]
pub(crate) const fn ip_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}
