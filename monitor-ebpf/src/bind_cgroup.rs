//! Successful binds by the cgroup hooks that run once the socket holds its port: below the system
//! call, so that io_uring is seen, and with the real port. Refused binds do not reach them.
//!
//! `BPF_CGROUP_RUN_PROG_INET4_POST_BIND(sk)` in `__inet_bind`, `net/ipv4/af_inet.c`, and its twin
//! in `net/ipv6/af_inet6.c`. The context of these programs is the `struct sock` itself; as `struct
//! bpf_sock` of `include/uapi/linux/bpf.h` some of it is readable where kernel memory is not.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use monitor_common::{
    flow::Protocol,
    ports::WirePort,
    socket_event::{Mechanism, SocketEventKind, known},
};

use crate::{
    access::Probed,
    maps::{BINDS_IN_FLIGHT, NAMED_BINDS, has_listeners},
    sock::{self, IpWords, SOCK_RAW, Sock},
    sockaddr::{NamedBind, Sockaddr},
    socket_call::{SocketCall, record, record_bind_by},
};

/// Let the call go on; 0 would refuse it.
const ALLOW: i32 = 1;

/// Reads a single field of the context: the verifier allows each hook a subset of them.
macro_rules! field {
    ($context:expr, $($field:tt)+) => {{
        // SAFETY: the context of a running program.
        unsafe { (&raw const (*$context.sock).$($field)+).read_volatile() }
    }};
}

/// IPv4.
#[cgroup_sock(post_bind4)]
fn bind_cgroup_post4(context: SockContext) -> i32 {
    if sock::is_readable() {
        on_bound(&context);
    } else {
        on_bound_unread(&context, [field!(context, src_ip4), 0, 0, 0]);
    }
    ALLOW
}

/// IPv6, dual-stack sockets included.
#[cgroup_sock(post_bind6)]
fn bind_cgroup_post6(context: SockContext) -> i32 {
    if sock::is_readable() {
        on_bound(&context);
    } else {
        let address = core::array::from_fn(|word| field!(context, src_ip6[word]));
        on_bound_unread(&context, address);
    }
    ALLOW
}

/// Reads a single field of the address's context, likewise.
macro_rules! address_field {
    ($context:expr, $($field:tt)+) => {{
        // SAFETY: the context of a running program.
        unsafe { (&raw const (*$context.sock_addr).$($field)+).read_volatile() }
    }};
}

/// Before a bind to an IPv4 address: the kernel notes only after the other hook that the program has
/// named the port (`SOCK_BINDPORT_LOCK`, `__inet_bind`), and that makes a listener.
#[cgroup_sock_addr(bind4)]
fn bind_cgroup_request4(context: SockAddrContext) -> i32 {
    on_request(&context);
    ALLOW
}

/// The same to an IPv6 address.
#[cgroup_sock_addr(bind6)]
fn bind_cgroup_request6(context: SockAddrContext) -> i32 {
    on_request(&context);
    ALLOW
}

#[inline(always)]
fn on_request(context: &SockAddrContext) {
    // The field has the two bytes of the sockaddr. Port 0 is in no set.
    let port = WirePort(address_field!(context, user_port) as u16);
    if !has_listeners(port) {
        return;
    }
    const UDP: u32 = Protocol::Udp.ip_number() as u32;
    const UDP_LITE: u32 = Protocol::UdpLite.ip_number() as u32;
    if matches!(address_field!(context, protocol), UDP | UDP_LITE) {
        let sk = address_field!(context, __bindgen_anon_1.sk) as u64;
        let bind = NamedBind { sk, port: port.0.into() };
        // An LRU map evicts when it is full.
        let _ = NAMED_BINDS.insert(bpf_get_current_pid_tgid(), bind, 0);
    }
}

/// Whether the bind of `sk` to `port` that this thread makes named the port; of a bind to a port of
/// listeners. A socket whose bind was refused may get another port from the kernel afterwards.
#[inline(always)]
fn is_named(sk: *const c_void, port: WirePort) -> bool {
    let thread = bpf_get_current_pid_tgid();
    let bind = NamedBind { sk: sk as u64, port: port.0.into() };
    // SAFETY: only this thread uses the element.
    let is_named = unsafe { NAMED_BINDS.get(thread) }.copied() == Some(bind);
    if is_named {
        let _ = NAMED_BINDS.remove(thread);
    }
    is_named
}

/// Records a bind where kernel memory is not readable, and this hook alone sees it.
#[inline(always)]
fn on_bound_unread(context: &SockContext, address: IpWords) {
    if field!(context, type_) == u32::from(SOCK_RAW) {
        return;
    }
    let sock = Sock::from_fields(
        field!(context, family) as u16,
        field!(context, protocol) as u16,
        field!(context, src_port) as u16,
        address,
    );
    if let Some(mut sock) = sock {
        let port = WirePort::of(sock.port);
        if has_listeners(port) && is_named(context.as_ptr(), port) {
            sock.known |= known::LISTENER;
        }
        let (kind, mechanism) = (SocketEventKind::Bind, Mechanism::Cgroup);
        record(context, &SocketCall { kind, mechanism, errno: 0, sock });
    }
}

/// Inside a traced system call the return records the bind, because another program may still refuse
/// it. Without a system call (io_uring) this hook alone sees the bind.
#[inline(always)]
fn on_bound(context: &SockContext) {
    let sk: *const c_void = context.as_ptr();
    if let Some(bind) = BINDS_IN_FLIGHT.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread uses the element.
        unsafe {
            (*bind).sk = sk as u64;
            (*bind).succeeded = 1;
        }
        return;
    }
    record_bind_by::<Probed, _>(context, Mechanism::Cgroup, sk, &Sockaddr::NONE, 0, |port| {
        is_named(sk, port)
    });
}
