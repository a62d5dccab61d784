//! A scan's sockets compared with the ledger and with the expected owners.

use std::collections::{BTreeMap, HashSet};

use monitor_common::flow::Protocol;
use monitor_ledger::{FoundHeld, Held, Ledger, PortFacts};

use crate::sockets::{self, Entry, Socket, TcpState};

/// How many sockets hold each port.
pub(super) fn held(sockets: &[Socket]) -> Vec<Held> {
    let mut ports = BTreeMap::<(u16, &str), Held>::new();
    for socket in sockets.iter().filter(|socket| socket.holds_port()) {
        let (port, protocol) = (socket.port, socket.entry.protocol);
        let none = Held {
            port,
            protocol,
            sockets: 0,
            can_answer: false,
            can_accept: false,
            expected: 0,
            unexpected: 0,
        };
        let held = ports.entry((port, protocol.name())).or_insert(none);
        held.sockets += 1;
        held.can_answer |=
            protocol.is_datagram() || socket.entry.tcp_state != Some(TcpState::Bound);
        held.can_accept |= can_accept(&socket.entry);
        held.expected += u32::from(socket.expected == Some(true));
        held.unexpected += u32::from(socket.expected == Some(false));
    }
    ports.into_values().collect()
}

/// Whether a socket can answer a peer that it does not know yet. One that is only bound may have begun
/// to listen since, and one that connects may be met by a peer that does the same.
const fn can_accept(entry: &Entry) -> bool {
    use TcpState::{Bound, Listen, SynReceived, SynSent};
    entry.protocol.is_datagram()
        || matches!(entry.tcp_state, None | Some(Bound | Listen | SynReceived | SynSent))
}

/// Counts the ports that are held according to the events and free according to the scan, or the
/// other way round.
pub(super) fn differences(ledger: &Ledger, held: &[Held]) -> u64 {
    let held = held.iter().filter(|held| held.sockets > 0);
    let held: HashSet<(u16, usize)> = held.map(|h| (h.port, h.protocol as usize)).collect();
    let differ = |port, facts: &PortFacts| {
        let differ = |protocol: &Protocol| {
            (facts.bound_sockets(*protocol) > 0) != held.contains(&(port, *protocol as usize))
        };
        Protocol::ALL.into_iter().filter(differ).count() as u64
    };
    ledger.all_facts().map(|(port, facts)| differ(port, &facts)).sum()
}

/// The sockets behind `found`, whose bind was not seen, that no expected process holds.
pub(super) fn unexpected<'a>(found: &FoundHeld, sockets: &'a [Socket]) -> Vec<&'a Socket> {
    let is_found =
        |socket: &&Socket| (socket.port, socket.entry.protocol) == (found.port, found.protocol);
    let is_unexpected = |socket: &&Socket| socket.expected == Some(false);
    bound(sockets).filter(is_found).filter(is_unexpected).collect()
}

/// The sockets that were bound to their port.
pub(super) fn bound(sockets: &[Socket]) -> impl Iterator<Item = &Socket> {
    // An accepted connection has not bound its port, and a socket of datagrams may have been given its port
    // by the kernel.
    let automatic = sockets::automatic_ports();
    sockets.iter().filter(move |socket| {
        let Entry { protocol, peer, .. } = socket.entry;
        let may_be_automatic = || protocol.is_datagram() && automatic.contains(&socket.port);
        socket.holds_port() && peer.is_none() && !may_be_automatic()
    })
}
