//! Which connections to a watched port elsewhere the other end began: its source port is a watched one by
//! chance.
//!
//! The kernel does not say who began a connection. Where a socket of the same protocol accepts at this
//! end's port, and nothing else may begin connections from there (`inet_csk_get_port`,
//! `net/ipv4/inet_connection_sock.c`, refuses a port that a listener has), the other end did.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    net::{IpAddr, Ipv6Addr},
};

use monitor_common::flow::{Protocol, Side};

use super::{
    port_filter::PortFilter,
    socket::{Entry, TcpState},
};

/// Where sockets accept, by network namespace.
#[derive(Debug, Default)]
pub(super) struct Acceptors(HashSet<(Option<u32>, Acceptor)>);

/// A protocol, an address and a port.
pub(super) type Acceptor = (Protocol, IpAddr, u16);

impl Acceptors {
    /// Adds those of a namespace.
    pub(super) fn extend(&mut self, netns_inode: Option<u32>, found: Vec<Acceptor>) {
        self.0.extend(found.into_iter().map(|acceptor| (netns_inode, acceptor)));
    }

    /// Whether a socket accepts at this end of a connection in a namespace.
    pub(super) fn have(&self, netns_inode: Option<u32>, entry: &Entry) -> bool {
        let (protocol, port) = (entry.protocol, entry.local.port());
        let own = entry.local.ip().to_canonical();
        let every = [IpAddr::from([0; 4]), Ipv6Addr::UNSPECIFIED.into()];
        let has = |address: IpAddr| {
            // A socket at every address of IPv6 takes IPv4 too.
            (own.is_ipv4() || address.is_ipv6())
                && self.0.contains(&(netns_inode, (protocol, address, port)))
        };
        entry.peer.is_some() && (has(own) || every.into_iter().any(has))
    }
}

/// The sockets that accept where one of `entries` has a peer with a watched port. `list` calls back with
/// every socket that accepts in their namespace; it is not called if there is no such connection.
pub(super) fn find(
    entries: &[Entry],
    filter: &PortFilter<'_>,
    list: impl FnOnce(&mut dyn FnMut(Entry)) -> io::Result<()>,
) -> Vec<Acceptor> {
    let is_remote = |entry: &&Entry| {
        filter.ends(entry).into_iter().flatten().any(|(_, side)| side == Side::Remote)
    };
    let place = |entry: &Entry| (entry.protocol, entry.local.port());
    let places: BTreeSet<_> = entries.iter().filter(is_remote).map(place).collect();
    let mut found = Vec::new();
    if places.is_empty() {
        return found;
    }
    let listed = list(&mut |entry| {
        if accepts(&entry) && places.contains(&place(&entry)) {
            found.push((entry.protocol, entry.local.ip().to_canonical(), entry.local.port()));
        }
    });
    if let Err(error) = listed {
        tracing::debug!(%error, "it stays unknown who began connections");
    }
    found
}

fn accepts(entry: &Entry) -> bool {
    let listens = entry.protocol.is_datagram() || entry.tcp_state == Some(TcpState::Listen);
    entry.peer.is_none() && listens
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn entry(local: &str, peer: Option<&str>, tcp_state: TcpState) -> Entry {
        let end = |end: &str| -> SocketAddr { end.parse().expect("an address") };
        Entry {
            protocol: Protocol::Tcp,
            local: end(local),
            peer: peer.map(end),
            tcp_state: Some(tcp_state),
            inode: 1,
            interface: 0,
            is_v6_only: None,
        }
    }

    /// Whether a connection of `local` counts as accepted beside a socket at `other`.
    fn is_accepted(local: &str, other: &str, state: TcpState) -> bool {
        let connection = entry(local, Some("192.0.2.9:2948"), TcpState::Established);
        let found = find(&[connection], &PortFilter::new(&[2948]), |visit| {
            visit(entry(other, None, state));
            Ok(())
        });
        let mut acceptors = Acceptors::default();
        acceptors.extend(Some(1), found);
        assert!(!acceptors.have(Some(2), &connection), "in another namespace");
        acceptors.have(Some(1), &connection)
    }

    #[test]
    fn a_connection_is_accepted_where_a_listener_has_its_port() {
        let listen = TcpState::Listen;
        assert!(is_accepted("10.0.0.1:8443", "10.0.0.1:8443", listen));
        assert!(is_accepted("10.0.0.1:8443", "0.0.0.0:8443", listen));
        assert!(is_accepted("10.0.0.1:8443", "[::]:8443", listen));
        assert!(is_accepted("[::ffff:10.0.0.1]:8443", "[::]:8443", listen));
        assert!(is_accepted("[2001:db8::1]:8443", "[::]:8443", listen));
        assert!(!is_accepted("[2001:db8::1]:8443", "0.0.0.0:8443", listen));
        assert!(!is_accepted("10.0.0.1:8443", "10.0.0.2:8443", listen), "at another address");
        assert!(!is_accepted("10.0.0.1:8443", "0.0.0.0:8444", listen), "at another port");
        assert!(!is_accepted("10.0.0.1:8443", "0.0.0.0:8443", TcpState::Bound));
    }

    #[test]
    fn nothing_is_listed_without_a_connection_to_a_watched_port_elsewhere() {
        let own = entry("10.0.0.1:2948", Some("192.0.2.9:40000"), TcpState::Established);
        let found = find(&[own], &PortFilter::new(&[2948]), |_| panic!("listed"));
        assert!(found.is_empty());
    }
}
