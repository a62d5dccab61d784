//! Calls that send to a watched port of another host, by the cgroup hooks of addresses (Linux 4.17 for
//! `connect`, 4.18 for `sendmsg`).
//!
//! `BPF_CGROUP_RUN_PROG_INET4_CONNECT` in `tcp_v4_pre_connect` (`net/ipv4/tcp_ipv4.c`) and
//! `udp_pre_connect` (`net/ipv4/udp.c`), `BPF_CGROUP_RUN_PROG_UDP4_SENDMSG_LOCK` in `udp_sendmsg`
//! (`net/ipv4/udp.c`), which runs it for datagrams with an address of their own, and the twins for
//! IPv6. Where there is no unified hierarchy of control groups: [`crate::connect_kprobe`].
//!
//! The programs run before the kernel decides: what another program, a firewall or the route refuses is
//! recorded as well. They let every call go on, and change no address.

use core::ffi::c_void;

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use monitor_common::{ports::WirePort, socket_event::Mechanism};

use crate::{
    access::Probed,
    outbound::{Peer, record},
    sock::{self, AF_INET, AF_INET6, SOCK_RAW, Sock},
};

/// Let the call go on; 0 would refuse it.
const ALLOW: i32 = 1;

/// Reads a single field of the context: the verifier allows each hook a subset of them.
macro_rules! field {
    ($context:expr, $($field:tt)+) => {{
        // SAFETY: the context of a running program.
        unsafe { (&raw const (*$context.sock_addr).$($field)+).read_volatile() }
    }};
}

/// `connect(2)` to an IPv4 address.
#[cgroup_sock_addr(connect4)]
fn connect_cgroup4(context: SockAddrContext) -> i32 {
    on_ipv4(&context);
    ALLOW
}

/// `connect(2)` to an IPv6 address, or to the IPv4 address that is mapped into one.
#[cgroup_sock_addr(connect6)]
fn connect_cgroup6(context: SockAddrContext) -> i32 {
    on_ipv6(&context);
    ALLOW
}

/// `sendto(2)`, `sendmsg(2)` and `sendmmsg(2)` to an IPv4 address, or to one that is mapped into IPv6.
#[cgroup_sock_addr(sendmsg4)]
fn send_cgroup4(context: SockAddrContext) -> i32 {
    on_ipv4(&context);
    ALLOW
}

/// The same to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
fn send_cgroup6(context: SockAddrContext) -> i32 {
    on_ipv6(&context);
    ALLOW
}

#[inline(always)]
fn on_ipv4(context: &SockAddrContext) {
    let port = port(context);
    // Nearly every call ends here.
    if Peer::is_watched(port) {
        on_watched(context, &Peer::ipv4(port, field!(context, user_ip4)), AF_INET);
    }
}

#[inline(always)]
fn on_ipv6(context: &SockAddrContext) {
    let port = port(context);
    if Peer::is_watched(port) {
        let address = core::array::from_fn(|word| field!(context, user_ip6[word]));
        on_watched(context, &Peer::ipv6(port, address), AF_INET6);
    }
}

/// The port, of which the field has the two bytes of the sockaddr.
#[inline(always)]
fn port(context: &SockAddrContext) -> WirePort {
    WirePort(field!(context, user_port) as u16)
}

#[inline(always)]
fn on_watched(context: &SockAddrContext, peer: &Peer, family: u16) {
    if field!(context, type_) == u32::from(SOCK_RAW) {
        return;
    }
    let protocol = field!(context, protocol) as u16;
    if let Some(mut sock) = Sock::from_fields(family, protocol, 0, peer.address) {
        let sk: *const c_void = field!(context, __bindgen_anon_1.sk).cast();
        if sock::is_readable() {
            sock.read_namespace::<Probed>(sk);
        }
        record(context, Mechanism::Cgroup, peer, sock);
    }
}
