//! A socket on a watched port.

use std::{net::SocketAddr, sync::Arc};

use monitor_common::flow::{Protocol, Side};

use crate::process::Identity;

/// A socket that has a watched port at one of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The watched port.
    pub port: u16,
    /// Which end has it: [`Side::Local`] if this socket's own does, [`Side::Remote`] if only the
    /// peer's does.
    pub side: Side,
    /// Inode of the socket's network namespace, as in `/proc/PID/ns/net`; `None` where that may not
    /// be seen.
    pub netns_inode: Option<u32>,
    /// From where it can be reached; `None` where the interfaces of its namespace may not be seen.
    pub scope: Option<SocketScope>,
    /// The interface that it is bound to (`SO_BINDTODEVICE`), or its link-local address's zone: the name,
    /// or `if7` where only the index is known.
    pub interface: Option<String>,
    /// The socket in the kernel's list.
    pub entry: Entry,
    /// Every process that has a descriptor of it, in the order of their ids. Empty for a socket
    /// whose process has ended (`TIME_WAIT`, orphans), that is not accepted yet, that the kernel has
    /// for itself (NFS, for instance), and whose holders may not be seen.
    pub holders: Vec<Arc<Identity>>,
    /// Whether it may have holders although none was found: not every process could be searched.
    pub holders_unknown: bool,
    /// Whether it is a connection that this host accepted at another port: the peer's port is a watched
    /// one by chance. `false` also where that is not known.
    pub is_accepted: bool,
    /// Whether the configuration expects its owner on the port. `None` where that is not known, and
    /// for a client of the port elsewhere.
    pub expected: Option<bool>,
}

/// From where a socket can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketScope {
    /// From this host: it is at a loopback address, bound to an interface that leads nowhere, or in a
    /// network namespace without an interface that leads elsewhere.
    Host,
    /// From elsewhere, as far as no packet filter forbids it.
    World,
}

impl Socket {
    /// Whether it holds its port. A socket without a file behind it is only a state that the kernel
    /// keeps.
    pub fn holds_port(&self) -> bool {
        self.side == Side::Local && self.entry.inode != 0
    }

    /// By port; local sockets before remote ones, unconnected ones before connections.
    pub(super) fn order(&self) -> impl Ord + use<> {
        let Entry { protocol, local, peer, inode, interface, .. } = self.entry;
        let ends = (peer.is_some(), local, peer, interface);
        (self.port, self.side.name(), protocol.name(), self.netns_inode, ends, inode)
    }
}

/// Those of `sockets`, which are in the order of their ports, that have `port` at one of their ends.
pub fn on_port(sockets: &[Socket], port: u16) -> &[Socket] {
    let begin = sockets.partition_point(|socket| socket.port < port);
    let end = sockets.partition_point(|socket| socket.port <= port);
    &sockets[begin..end]
}

/// A UDP socket of this host without a holder.
#[cfg(test)]
pub(crate) fn udp_socket(port: u16) -> Socket {
    let entry = Entry {
        protocol: Protocol::Udp,
        local: ([127, 0, 0, 1], port).into(),
        peer: None,
        tcp_state: None,
        inode: 0,
        interface: 0,
        is_v6_only: None,
    };
    Socket {
        port,
        side: Side::Local,
        netns_inode: None,
        scope: None,
        interface: None,
        entry,
        holders: Vec::new(),
        holders_unknown: false,
        is_accepted: false,
        expected: None,
    }
}

/// A line of the kernel's list of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Transport protocol; a subflow of MPTCP is TCP.
    pub protocol: Protocol,
    /// This end. An IPv6 socket that accepts IPv4 as well has an IPv6 address.
    pub local: SocketAddr,
    /// The other end, if the socket is connected.
    pub peer: Option<SocketAddr>,
    /// State of a TCP socket, or of an SCTP socket, whose states have the same names.
    pub tcp_state: Option<TcpState>,
    /// Inode; 0 for a socket without a file.
    pub inode: u32,
    /// Index of the interface that it is bound to (`SO_BINDTODEVICE`), or of its link-local address's
    /// zone; 0 for none, and where that is not listed.
    pub interface: u32,
    /// Whether an IPv6 socket without a peer accepts no IPv4; `None` of any other, and where that is not
    /// listed.
    pub is_v6_only: Option<bool>,
}

impl Entry {
    /// Whether the socket has these ends. An IPv6 socket may have an IPv4 connection.
    pub(super) fn joins(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        canonical(self.local) == canonical(local)
            && self.peer.is_some_and(|end| canonical(end) == canonical(peer))
    }
}

/// An end with its IPv4 address, if that is mapped into an IPv6 one.
pub(super) fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// State of a TCP socket (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9293 explains them, but for Bound")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    /// Has a port, and neither listens nor is connected; listed since Linux 6.8.
    Bound,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl TcpState {
    /// From the number in the kernel's lists.
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Established),
            2 => Some(Self::SynSent),
            // Twelve is TCP_NEW_SYN_RECV: a request that has no socket yet.
            3 | 12 => Some(Self::SynReceived),
            4 => Some(Self::FinWait1),
            5 => Some(Self::FinWait2),
            6 => Some(Self::TimeWait),
            // A closed socket is listed while it is bound; thirteen is TCP_BOUND_INACTIVE.
            7 | 13 => Some(Self::Bound),
            8 => Some(Self::CloseWait),
            9 => Some(Self::LastAck),
            10 => Some(Self::Listen),
            11 => Some(Self::Closing),
            _ => None,
        }
    }

    /// Name in OpenTelemetry's `network.connection.state`, which has no `bound`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::TimeWait => "time_wait",
            Self::Bound => "bound",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_sockets_of_a_port() {
        let sockets = [1, 5, 5, 9].map(udp_socket);
        for (port, count) in [(0, 0), (1, 1), (4, 0), (5, 2), (9, 1), (65535, 0)] {
            assert_eq!(on_port(&sockets, port).len(), count, "{port}");
            assert!(on_port(&sockets, port).iter().all(|socket| socket.port == port));
        }
    }
}
