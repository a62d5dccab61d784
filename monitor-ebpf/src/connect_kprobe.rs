//! The same as [`crate::connect_cgroup`] by kprobes, for hosts without a unified hierarchy of control
//! groups.
//!
//! `tcp_v4_connect(sk, uaddr, len)` in `net/ipv4/tcp_ipv4.c`, `tcp_v6_connect` in
//! `net/ipv6/tcp_ipv6.c`; `ip4_datagram_connect(sk, uaddr, len)` in `net/ipv4/datagram.c`,
//! `ip6_datagram_connect` in `net/ipv6/datagram.c`; `udp_sendmsg(sk, msg, len)` in `net/ipv4/udp.c`,
//! `udpv6_sendmsg` in `net/ipv6/udp.c`.

use core::ffi::c_void;

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use monitor_common::{ports::WirePort, socket_event::Mechanism};

use crate::{
    access::{Access as _, Probed},
    bind_fexit::read_kernel_sockaddr,
    outbound::{Peer, record},
    sock,
    sockaddr::Sockaddr,
};

/// Entry of a function that connects.
#[kprobe]
fn connect_kprobe(context: ProbeContext) -> u32 {
    if let (Some(sk), Some(address)) = (context.arg(0), context.arg::<*const c_void>(1)) {
        on_address(&context, sk, address as u64);
    }
    0
}

/// Entry of a function that sends a datagram. The address is the first member of `struct msghdr`, and
/// 0 for a socket that is connected.
#[kprobe]
fn send_kprobe(context: ProbeContext) -> u32 {
    if let (Some(sk), Some(message)) = (context.arg(0), context.arg::<*const c_void>(1))
        && let Some(address) = Probed::member::<u64>(message, 0)
        && address != 0
    {
        on_address(&context, sk, address);
    }
    0
}

#[inline(always)]
fn on_address(context: &ProbeContext, sk: *const c_void, address: u64) {
    let Some(sockaddr) = read_kernel_sockaddr(address) else { return };
    if !sockaddr.is_internet() || !Peer::is_watched(WirePort::of(sockaddr.port())) {
        return;
    }
    if let Some(sock) = sock::read(sk) {
        record(context, Mechanism::Kprobe, &peer(&sockaddr), sock);
    }
}

#[inline(always)]
fn peer(sockaddr: &Sockaddr) -> Peer {
    let port = WirePort::of(sockaddr.port());
    let address = sockaddr.address();
    if sockaddr.is_of(6) { Peer::ipv6(port, address) } else { Peer::ipv4(port, address[0]) }
}
