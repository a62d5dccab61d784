//! What may be at the end of a way: namespaces by their addresses, and the sockets in them.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    path::Path as FilePath,
    sync::Arc,
};

use monitor_common::flow::Protocol;

use super::route::{Flow, Place, Route, Target};
use crate::{
    process::{Identity, ProcessEnricher},
    sockets::{
        addresses::Addresses,
        holders::distinct,
        namespaces::{HERE, NamespacePath, Namespaces},
        scan::scan,
        socket::{Socket, TcpState, canonical},
    },
};

/// What may be at the end of a way.
pub(in crate::sockets) struct Ends {
    addresses: BTreeMap<u32, Addresses>,
    sockets: Vec<Socket>,
    /// The connections of TCP that are open: namespace, own end, other end.
    connections: HashSet<(u32, SocketAddr, SocketAddr)>,
    /// Whether the sockets of every namespace were seen.
    has_seen_all: bool,
}

impl Ends {
    /// Reads addresses, and looks for the sockets on `ports`. The calling thread is in namespace
    /// `own`.
    pub(in crate::sockets) fn find(
        namespaces: &Namespaces,
        own: u32,
        ports: &[u16],
        processes: &mut ProcessEnricher,
    ) -> io::Result<Self> {
        let result = scan(ports, processes)?;
        let has_seen_all = result.unseen.namespaces == 0;
        let sockets = result.sockets;
        let connections = sockets.iter().filter_map(connection).collect();
        Ok(Self { addresses: addresses(namespaces, own), sockets, connections, has_seen_all })
    }

    /// Where a target of a way is, seen from a namespace. That comes first: others may have the same
    /// private address.
    pub(in crate::sockets) fn place(&self, netns_inode: u32, target: Target) -> Place {
        let Some(address) = target.address else { return Place::Here };
        let has = |inode: &u32| self.addresses.get(inode).is_some_and(|own| own.contains(address));
        if has(&netns_inode) {
            return Place::Here;
        }
        let other = self.addresses.keys().find(|inode| !address.is_loopback() && has(inode));
        other.map_or(Place::Elsewhere, |inode| Place::Namespace { netns_inode: *inode })
    }

    /// How many of the connections of a way still last, which begins in namespace `here` and leads to
    /// `place`: those of TCP whose target has a socket for them, of others those that have packets.
    /// `None` of a rule.
    pub(super) fn lasting(&self, (place, here): (Place, u32), route: &Route) -> Option<u64> {
        let connections = route.connections?;
        let inode = place.netns_inode(here).filter(|_| self.has_seen_all);
        let lasts = |flow: &&Flow| match inode.filter(|_| route.protocol == Protocol::Tcp) {
            Some(inode) => self.connections.contains(&(inode, flow.target, flow.client)),
            None => !flow.is_idle,
        };
        let unnamed = connections.saturating_sub(route.flows.len() as u64);
        Some(unnamed + route.flows.iter().filter(lasts).count() as u64)
    }

    /// The processes that hold the target of a way that begins in namespace `here`; none if it is
    /// unknown where that is.
    pub(in crate::sockets) fn holders(
        &self,
        (place, here): (Place, u32),
        protocol: Protocol,
        target: Option<Target>,
    ) -> Vec<Arc<Identity>> {
        let (Some(netns_inode), Some(target)) = (place.netns_inode(here), target) else {
            return Vec::new();
        };
        let is_there = |socket: &&Socket| {
            let local = socket.entry.local;
            socket.netns_inode == Some(netns_inode)
                && socket.entry.protocol == protocol
                && socket.entry.peer.is_none()
                && local.port() == target.port
                && target.address.is_none_or(|address| takes(local.ip(), address))
        };
        distinct(self.sockets.iter().filter(is_there).flat_map(|socket| &socket.holders))
    }
}

/// States in which both ends have closed.
const ENDED: [TcpState; 3] = [TcpState::TimeWait, TcpState::LastAck, TcpState::Closing];

/// The connection of TCP that a socket is, while it is open.
fn connection(socket: &Socket) -> Option<(u32, SocketAddr, SocketAddr)> {
    let entry = &socket.entry;
    let is_open = entry.protocol == Protocol::Tcp
        && entry.tcp_state.is_some_and(|state| !ENDED.contains(&state));
    let peer = entry.peer.filter(|_| is_open)?;
    Some((socket.netns_inode?, canonical(entry.local), canonical(peer)))
}

/// The addresses of the namespaces whose `net` folder can be read.
fn addresses(namespaces: &Namespaces, own: u32) -> BTreeMap<u32, Addresses> {
    let mut addresses = BTreeMap::new();
    for (inode, paths) in &namespaces.paths {
        let read = |path: &NamespacePath| Addresses::read(&path.lists()?).ok();
        if let Some(found) = paths.iter().find_map(read) {
            addresses.insert(*inode, found);
        }
    }
    if let Ok(here) = Addresses::read(FilePath::new(HERE)) {
        addresses.insert(own, here);
    }
    addresses
}

/// Whether a socket at `local` takes packets to `address`. One of IPv6 may take IPv4, too.
fn takes(local: IpAddr, address: IpAddr) -> bool {
    let (local, address) = (local.to_canonical(), address.to_canonical());
    local == address || (local.is_unspecified() && (local.is_ipv6() || address.is_ipv4()))
}
