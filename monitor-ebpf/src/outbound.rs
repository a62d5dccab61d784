//! What every hook does with a call that sends to a watched port: the first one of a process to a port
//! of another host is recorded, so that the process can be named after its end.
//!
//! A datagram after the first costs its sender one lookup, and userspace nothing.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
};
use monitor_common::{
    addresses::AddressKey,
    limits::REMOTE_FLOW_SILENCE_NS,
    outbound::OutboundKey,
    ports::WirePort,
    sampling::AddressWords,
    socket_event::{Mechanism, SocketEventKind, known},
};

use crate::{
    addresses,
    maps::{OUTBOUND, is_watched},
    selftest,
    sock::{IpWords, Sock},
    socket_call::{self, SocketCall},
};

/// The far end of a call.
pub(crate) struct Peer {
    pub(crate) port: WirePort,
    pub(crate) address: IpWords,
    /// Version of IP.
    pub(crate) family: u8,
}

impl Peer {
    /// Whether a port is watched, before anything else is known of the call.
    #[inline(always)]
    pub(crate) fn is_watched(port: WirePort) -> bool {
        is_watched(port)
    }

    /// An IPv4 address. The word is as memory has it.
    #[inline(always)]
    pub(crate) const fn ipv4(port: WirePort, address: u32) -> Self {
        Self { port, address: [address, 0, 0, 0], family: 4 }
    }

    /// An IPv6 address, or the IPv4 address that is mapped into it (RFC 4291 section 2.5.5.2), to
    /// which packets of IPv4 go.
    #[inline(always)]
    pub(crate) const fn ipv6(port: WirePort, address: IpWords) -> Self {
        const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        if address[0] | address[1] == 0 && address[2] == MAPPED {
            return Self::ipv4(port, address[3]);
        }
        Self { port, address, family: 6 }
    }

    /// Whether it is this host. For a call that sends, the unspecified address is
    /// (`ip_route_output_key_hash_rcu`, `net/ipv4/route.c`).
    #[inline(always)]
    fn is_here(&self) -> bool {
        let words: AddressWords = bytemuck::cast(self.address);
        let key = if self.family == 4 {
            AddressKey::of_ipv4(words[0])
        } else {
            AddressKey::of_ipv6(words)
        };
        key.is_unspecified() || addresses::is_local(key)
    }
}

/// Records a call of the current task that sends to `peer`, whose port is watched, by a socket like
/// `sock`, unless it is one of many.
#[inline(always)]
pub(crate) fn record<C: EbpfContext>(context: &C, mechanism: Mechanism, peer: &Peer, sock: Sock) {
    // The record is about the peer's end.
    let sock = Sock {
        port: peer.port.number(),
        address: peer.address,
        family: peer.family,
        known: sock.known | known::FAMILY | known::ADDRESS,
        ..sock
    };
    if selftest::has_mark(&sock) || (!peer.is_here() && is_first(&sock)) {
        let kind = SocketEventKind::Connect;
        socket_call::record(context, &SocketCall { kind, mechanism, errno: 0, sock });
    }
}

/// Whether the current process has not sent to this port of this host within the last minutes. An
/// entry that was evicted makes the next call a first one again.
#[expect(clippy::needless_borrows_for_generic_args, reason = "a copy has no room on the stack")]
#[inline(always)]
fn is_first(sock: &Sock) -> bool {
    let key = OutboundKey {
        address: sock.address,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        port: sock.port,
        protocol: sock.protocol.ip_number(),
        family: sock.family,
    };
    // SAFETY: the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let Some(last_ns) = OUTBOUND.get_ptr_mut(&key) else {
        // An LRU map evicts when it is full.
        let _ = OUTBOUND.insert(&key, now_ns, 0);
        return true;
    };
    // SAFETY: a word of the map, which is read and written whole.
    let before_ns = unsafe {
        let before_ns = last_ns.read_volatile();
        last_ns.write_volatile(now_ns);
        before_ns
    };
    now_ns.saturating_sub(before_ns) > REMOTE_FLOW_SILENCE_NS
}
