//! Calls and packets of a selftest, which are recognized by the mark that userspace has set.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns};
use monitor_common::{packet::PackedSegment, ports::WirePort, socket_event::known};

use crate::{
    maps::{SELFTEST, add_atomic},
    network::Network,
    packet_program::{FlowDirection, PacketProgram},
    sock::Sock,
};

/// Reads a field of the mark.
macro_rules! field {
    ($field:ident) => {{
        // SAFETY: an aligned word of the section, which userspace writes whole.
        unsafe { (&raw const (*SELFTEST.get()).$field).read_volatile() }
    }};
}

/// Whether a mark is in force. Hardly ever.
#[inline(always)]
fn is_in_force() -> bool {
    let until_ns = field!(until_ns);
    // SAFETY: the helper takes no arguments.
    until_ns != 0 && unsafe { bpf_ktime_get_boot_ns() } < until_ns
}

/// Whether a call on `sock` by the current task has the mark.
#[inline(always)]
pub(crate) fn has_mark(sock: &Sock) -> bool {
    if field!(until_ns) == 0 || sock.family != 4 || sock.known & known::ADDRESS == 0 {
        return false;
    }
    let tgid = field!(tgid);
    is_in_force()
        && sock.address[0] == field!(address)
        && WirePort::of(sock.port).0 == field!(port)
        && (tgid == 0 || tgid == (bpf_get_current_pid_tgid() >> 32) as u32)
}

/// Counts a packet that has the mark, and returns whether it has. Both of its ports are watched, so
/// that no such packet takes the straight path.
#[inline(always)]
pub(crate) fn takes<P: PacketProgram>(packet: P::View, segment: PackedSegment) -> bool {
    if field!(until_ns) == 0 {
        return false;
    }
    let port = field!(port);
    if segment.source().0 != port || segment.destination().0 != port || !is_in_force() {
        return false;
    }
    let Some(network) = Network::read(packet, segment.network()) else { return false };
    let address = u64::from(field!(address));
    if network.family != 4 || network.source[0] != address || network.destination[0] != address {
        return false;
    }
    // SAFETY: a word of the section; only the address is taken.
    let packets = unsafe { (&raw const (*SELFTEST.get()).packets).cast::<u64>() };
    // SAFETY: one of the two words.
    add_atomic(unsafe { packets.add(P::Direction::INDEX) }.cast_mut(), 1);
    true
}
