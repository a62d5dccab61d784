//! Recording a socket call on a watched port: count it and send it to userspace.

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
    call_sum::SumKey,
    errors::KernelError,
    ports::WirePort,
    socket_event::{
        BindResult, Mechanism, SocketCounters, SocketEvent, SocketEventKind,
        SocketEventWithCommandLine, known,
    },
};

use crate::{
    access::{Access, Probed},
    call_share, call_sum,
    maps::{
        AUTOMATIC_BINDS, EVENTS, LISTENER_SHARES, SHARES, SOCKET_COUNTERS, add_atomic, count_error,
        has_listeners, index_of, is_nearly_full, is_watched, wakeup,
    },
    rare_calls, selftest,
    sock::{self, Members, Sock},
    sockaddr::Sockaddr,
    task::{Arguments, Caller, CommandLine, Program},
};

/// A finished socket call.
pub(crate) struct SocketCall {
    pub(crate) kind: SocketEventKind,
    pub(crate) mechanism: Mechanism,
    pub(crate) errno: u32,
    pub(crate) sock: Sock,
}

/// Records how a bind of `sk` ended.
///
/// The kernel sets the socket's port only when the socket holds it: a refused bind is recorded with
/// the requested port, a successful one with the port held (a request for port 0 leaves the choice
/// to the kernel).
#[inline(always)]
pub(crate) fn record_bind<A: Access, C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    sk: *const c_void,
    request: &Sockaddr,
    returned: i32,
) {
    record_bind_by::<A, C>(context, mechanism, sk, request, returned, |_| false);
}

/// [`record_bind`] for a hook at which the socket does not say yet that its port was named: `is_named`
/// does.
#[inline(always)]
pub(crate) fn record_bind_by<A: Access, C: EbpfContext>(
    context: &C,
    mechanism: Mechanism,
    sk: *const c_void,
    request: &Sockaddr,
    returned: i32,
    is_named: impl FnOnce(WirePort) -> bool,
) {
    let errno = returned.unsigned_abs();
    let port = if errno == 0 { sock::port_of::<A>(sk) } else { Some(request.port()) };
    let Some(port) = port.map(WirePort::of) else { return };
    // Nearly every bind ends here, before the rest of the socket is read.
    let (is_watched, may_listen) = (is_watched(port), errno == 0 && has_listeners(port));
    if !is_watched && !may_listen {
        return;
    }
    let mut members = Members::<A>::of(sk);
    // A TCP socket is no listener before it listens, and a client's port was chosen by the kernel.
    let opens = may_listen
        && members.is_for_datagrams()
        && (members.has_named_port() == Some(true) || is_named(port));
    let listener = if opens { known::LISTENER } else { 0 };
    if !is_watched && listener == 0 {
        return;
    }
    let Some(mut sock) = members.read() else {
        return;
    };
    sock.known |= listener;
    sock.read_inode(sk);
    if errno != 0 {
        sock.port = request.port();
        sock.known &= !known::ADDRESS;
        if request.is_of(sock.family) {
            sock.address = request.address();
            sock.known |= known::ADDRESS;
        }
    }
    if errno == 0 && members.has_named_port() == Some(false) {
        store_automatic_port(sk, &sock, mechanism);
    }
    let kind = SocketEventKind::Bind;
    record(context, &SocketCall { kind, mechanism, errno, sock });
}

/// Stores a watched port of the kernel's choice for [`record_release`], which does not exist with
/// tracepoints.
#[inline(always)]
fn store_automatic_port(sk: *const c_void, sock: &Sock, mechanism: Mechanism) {
    if matches!(mechanism, Mechanism::Tracepoint) {
        return;
    }
    // The MPTCP socket will be released, not its subflow.
    let released = sock::owner_of::<Probed>(sk).unwrap_or(sk);
    // An LRU map evicts when it is full.
    let _ = AUTOMATIC_BINDS.insert(released as u64, sock.port, 0);
}

/// Whether the release of `sk` may free a watched port, or end a listener: nearly every released socket
/// does neither. A connection that was reset has lost its port before it is closed.
#[inline(always)]
pub(crate) fn may_hold_port<A: Access>(sk: *const c_void) -> bool {
    match sock::port_of::<A>(sk) {
        // SAFETY: the element is tested for presence and not read.
        Some(0) => unsafe { AUTOMATIC_BINDS.get(sk as u64) }.is_some(),
        Some(port) => {
            let port = WirePort::of(port);
            // Of a TCP socket the end of listening was reported.
            is_watched(port) || (has_listeners(port) && Members::<A>::of(sk).is_datagram_listener())
        }
        None => false,
    }
}

/// Records the release of `sk`, for which [`may_hold_port`] is true, if it frees a port that
/// the socket was bound to.
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
    if has_listeners(WirePort::of(sock.port)) && members.is_datagram_listener() {
        sock.known |= known::LISTENER;
    }
    sock.read_inode(sk);
    let kind = SocketEventKind::Close;
    record(context, &SocketCall { kind, mechanism, errno: 0, sock });
}

/// Removes and returns the port that the kernel chose when `sk` was bound. `None` if the socket has
/// another port now: then the entry belongs to an earlier socket at the same address.
#[inline(always)]
fn take_automatic_port(sk: *const c_void, now: u16) -> Option<u16> {
    // SAFETY: the value is read once, and no other program uses the entry of a released socket.
    let port = unsafe { AUTOMATIC_BINDS.get(sk as u64) }.copied()?;
    let _ = AUTOMATIC_BINDS.remove(sk as u64);
    (now == 0 || now == port).then_some(port)
}

/// Counts a call on a watched port and sends it to userspace. A call on another port is sent if it opens
/// or closes a listener there ([`known::LISTENER`]).
#[inline(always)]
pub(crate) fn record<C: EbpfContext>(context: &C, call: &SocketCall) {
    if !is_watched(WirePort::of(call.sock.port)) {
        if call.sock.known & known::LISTENER != 0 {
            record_listener(call);
        }
        return;
    }
    if selftest::has_mark(&call.sock) {
        if !send(call, known::SELFTEST) {
            count_error(KernelError::RingFull);
        }
        return;
    }
    count(call);
    // A program that calls in a loop takes no room from others: what is beyond its share, or beyond
    // the ring, is summed up.
    if call_share::take(&SHARES) && send(call, 0) {
        debug!(context, "socket call on port {}, errno {}", call.sock.port, call.errno);
    } else if !sum(call) {
        // Counted, not logged: a process that fills the ring would fill the log as well.
        count_error(KernelError::RingFull);
    }
}

/// Sends a call for the sake of listeners alone, which leaves room in the ring for those on watched
/// ports. What is beyond is summed up, of all ports together.
#[inline(always)]
pub(crate) fn record_listener(call: &SocketCall) {
    let mark = known::LISTENER_ONLY;
    if !is_nearly_full(&EVENTS) && call_share::take(&LISTENER_SHARES) && send(call, mark) {
        return;
    }
    let key = SumKey { port: 0, ..call_sum::key(&call.sock, SumKey::listener_call(call.kind)) };
    if !call_sum::add(&key, |event| write(event, call, Arguments::of_caller(), 0, mark)) {
        count_error(KernelError::RingFull);
    }
}

#[inline(always)]
fn sum(call: &SocketCall) -> bool {
    let key = call_sum::key(&call.sock, SumKey::call(call.kind, call.errno));
    call_sum::add(&key, |event| write(event, call, Arguments::of_caller(), 0, 0))
}

#[inline(always)]
fn count(call: &SocketCall) {
    if call.sock.protocol.is_rare() {
        return rare_calls::count(&call.sock, call.kind, call.errno);
    }
    let counters = index_of(WirePort::of(call.sock.port))
        .and_then(|index| SOCKET_COUNTERS.get_value_ptr_mut(0, &index));
    let Some(counters) = counters else {
        return count_error(KernelError::SlotMissing);
    };
    if let Some(counter) = counter(counters.cast(), call) {
        add_atomic(counter, 1);
    }
}

/// The counter of a call. A connect has none: the packets that follow it are counted.
#[inline(always)]
fn counter(counters: *mut SocketCounters, call: &SocketCall) -> Option<*mut u64> {
    // SAFETY: the pointer is to a map value of this type; only addresses are taken.
    let counter = unsafe {
        match (call.kind, call.sock.protocol) {
            // Of a common protocol.
            (SocketEventKind::Bind, protocol) => {
                let result = BindResult::from_errno(call.errno);
                let binds = &raw mut (*counters).binds;
                binds.cast::<u64>().add(protocol as usize * BindResult::COUNT + result as usize)
            }
            (SocketEventKind::Listen, _) => &raw mut (*counters).listens,
            (SocketEventKind::Close, protocol) => {
                (&raw mut (*counters).closes).cast::<u64>().add(protocol as usize)
            }
            (SocketEventKind::Connect, _) => return None,
        }
    };
    Some(counter)
}

/// Sends a call to userspace; false when the ring buffer is full. A close is sent without the
/// caller's command line: most happen at the end of a process, which has freed its memory by then.
/// `mark` is [`known::SELFTEST`], [`known::LISTENER_ONLY`] or 0.
#[inline(always)]
fn send(call: &SocketCall, mark: u32) -> bool {
    let arguments = Arguments::of_caller();
    if matches!(call.kind, SocketEventKind::Close) {
        return send_alone(call, arguments, mark);
    }
    match CommandLine::of(arguments) {
        Some(command_line) => send_with(call, arguments, command_line, mark),
        None => send_alone(call, arguments, mark),
    }
}

#[inline(always)]
fn send_with(
    call: &SocketCall,
    arguments: Arguments,
    command_line: CommandLine,
    mark: u32,
) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<SocketEventWithCommandLine>(0) else {
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is of this type; only addresses are taken.
    let (event, room) = unsafe { (&raw mut (*record).event, &raw mut (*record).command_line) };
    let known = if command_line.copy_to(room) { known::COMMAND_LINE } else { 0 };
    write(event, call, arguments, command_line.len(), known | mark);
    entry.submit(wakeup(&EVENTS, size_of::<SocketEventWithCommandLine>()));
    true
}

#[inline(always)]
fn send_alone(call: &SocketCall, arguments: Arguments, mark: u32) -> bool {
    let Some(mut entry) = EVENTS.reserve(0) else {
        return false;
    };
    write(entry.as_mut_ptr(), call, arguments, 0, mark);
    entry.submit(wakeup(&EVENTS, size_of::<SocketEvent>()));
    true
}

/// Writes the record of a call, with the caller as it is now.
#[inline(always)]
fn write(
    event: *mut SocketEvent,
    call: &SocketCall,
    arguments: Arguments,
    command_line_len: u32,
    known: u32,
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
        protocol: call.sock.protocol.ip_number(),
        address: bytemuck::cast(call.sock.address),
        thread_name: bytemuck::cast(caller.thread_name),
        process_name: bytemuck::cast(caller.process_name.value),
        known,
        arguments_at: arguments.start as u32,
        interface: call.sock.interface,
        socket_inode: call.sock.inode,
        family: call.sock.family,
        mechanism: call.mechanism as u8,
        reserved: [0; 6],
        executable_device: 0,
        executable_generation: 0,
        user_namespace: 0,
        mount_namespace: 0,
        executable_inode: 0,
    };
    // SAFETY: the pointer is to a reserved entry of the ring buffer, or to a map value, which has
    // room for it.
    unsafe { event.write(record) };
    write_program(event, known);
}

/// Adds what the caller executes. `known` is that of the record.
#[inline(always)]
fn write_program(event: *mut SocketEvent, known: u32) {
    let program = Program::read();
    let known = known
        | (program.device.flag(known::EXECUTABLE) & program.inode.flag(known::EXECUTABLE))
        | program.user_namespace.flag(known::USER_NAMESPACE)
        | program.mount_namespace.flag(known::MOUNT_NAMESPACE);
    // SAFETY: as in `write`, whose record is there already.
    unsafe {
        (&raw mut (*event).executable_device).write(program.device.value);
        (&raw mut (*event).executable_inode).write(program.inode.value);
        (&raw mut (*event).executable_generation).write(program.generation.value);
        (&raw mut (*event).user_namespace).write(program.user_namespace.value);
        (&raw mut (*event).mount_namespace).write(program.mount_namespace.value);
        (&raw mut (*event).known).write(known);
    }
}
