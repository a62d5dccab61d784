//! What is in the way of a bind that the kernel has refused with `EADDRINUSE`.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use monitor_common::flow::Protocol;

use super::{
    descriptors, diag,
    holders::Holders,
    namespaces::{self, HERE},
    numbered, proc_net,
    socket::{Entry, TcpState},
    visibility::HiddenProcesses,
};
use crate::process::{Identity, ProcessEnricher, proc_dir::ProcessDir};

/// A bind that was refused.
#[derive(Clone, Copy, Debug)]
pub struct RefusedBind {
    /// Transport protocol of its socket.
    pub protocol: Protocol,
    /// The address that it asked for, if that is known.
    pub address: Option<IpAddr>,
    /// The port that it asked for.
    pub port: u16,
    /// Inode of its network namespace, if that is known.
    pub netns_inode: Option<u32>,
    /// The process that made it, through which the lists of another namespace are read.
    pub caller: Option<u32>,
}

/// What is in the way of a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// What it is.
    pub kind: OccupantKind,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end of a connection.
    pub peer: Option<SocketAddr>,
    /// The processes that hold it; empty where they are not known, and of what no process holds.
    pub holders: Vec<Arc<Identity>>,
}

/// What is in the way of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OccupantKind {
    /// A socket that listens or is bound.
    Socket,
    /// A connection, and no socket that listens on its port: this host's end of one that it began, or
    /// of one whose listener is gone.
    Connection,
    /// A connection that has ended; the kernel keeps its ends for a minute.
    TimeWait,
    /// A socket that the kernel has for itself.
    Kernel,
}

impl Occupant {
    /// Finds it in the lists of the bind's network namespace as they are now; `None` if nothing is in
    /// the way any more, or if that namespace cannot be seen.
    ///
    /// # Errors
    /// A list or `/proc` cannot be read.
    pub fn of(bind: &RefusedBind, processes: &mut ProcessEnricher) -> io::Result<Option<Self>> {
        let Some(entries) = entries(bind)? else { return Ok(None) };
        let overlapping = entries.iter().filter(|entry| overlaps(bind.address, entry));
        let Some(entry) = overlapping.min_by_key(|entry| rank(entry)) else { return Ok(None) };
        let mut occupant =
            Self { kind: kind(entry), local: entry.local, peer: entry.peer, holders: Vec::new() };
        if entry.inode != 0 {
            let found = descriptors::find(&numbered::proc()?, &HashSet::from([entry.inode]))?;
            let may_be_hidden = found.unreadable > 0 || HiddenProcesses::here().is_some();
            let mut holders = Holders::default();
            holders.add_found(found, processes);
            occupant.holders = holders.of(entry.inode);
            if occupant.kind == OccupantKind::Socket
                && occupant.holders.is_empty()
                && !may_be_hidden
            {
                occupant.kind = OccupantKind::Kernel;
            }
        }
        Ok(Some(occupant))
    }
}

/// The sockets on the port; `None` if the namespace is another one and its lists cannot be read.
fn entries(bind: &RefusedBind) -> io::Result<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    let mut visit = |entry: Entry| {
        if (entry.protocol, entry.local.port()) == (bind.protocol, bind.port) {
            entries.push(entry);
        }
    };
    let own = namespaces::own_inode()?;
    if bind.netns_inode.is_none_or(|inode| inode == own) {
        let here = Path::new(HERE);
        diag::list(&[bind.port], &mut visit).or_else(|_| proc_net::list(here, &mut visit))?;
        proc_net::list_rare(here, &mut visit)?;
        return Ok(Some(entries));
    }
    let Some(lists) = lists_of_caller(bind) else { return Ok(None) };
    proc_net::list(&lists, &mut visit)?;
    proc_net::list_rare(&lists, &mut visit)?;
    Ok(Some(entries))
}

/// The `net` folder of the caller, if it is in the namespace of its socket.
fn lists_of_caller(bind: &RefusedBind) -> Option<PathBuf> {
    let pid = bind.caller?;
    let inode = ProcessDir::open(pid).and_then(|process| process.netns_inode()).ok()?;
    (Some(inode) == bind.netns_inode).then(|| format!("/proc/{pid}/net").into())
}

/// Whether a socket is at an address that a bind to `wanted` would share with it. An IPv6 socket at the
/// unspecified address may hold IPv4 as well.
fn overlaps(wanted: Option<IpAddr>, entry: &Entry) -> bool {
    let Some(wanted) = wanted else { return true };
    let (wanted, held) = (wanted.to_canonical(), entry.local.ip().to_canonical());
    includes(wanted, held) || includes(held, wanted)
}

/// Whether a socket at `place` may hold `address`, too.
fn includes(place: IpAddr, address: IpAddr) -> bool {
    place == address || (place.is_unspecified() && (place.is_ipv6() || address.is_ipv4()))
}

const fn kind(entry: &Entry) -> OccupantKind {
    match (entry.tcp_state, entry.peer) {
        (Some(TcpState::TimeWait), _) => OccupantKind::TimeWait,
        (_, None) => OccupantKind::Socket,
        (_, Some(_)) => OccupantKind::Connection,
    }
}

/// The lower, the more it says of who is in the way.
const fn rank(entry: &Entry) -> u8 {
    match kind(entry) {
        OccupantKind::Socket | OccupantKind::Kernel => match entry.tcp_state {
            Some(TcpState::Bound) => 1,
            _ => 0,
        },
        OccupantKind::Connection if entry.inode != 0 => 2,
        OccupantKind::Connection => 3,
        OccupantKind::TimeWait => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::{config::CommandLines, sockets::udp_socket};

    fn found(protocol: Protocol, address: IpAddr, port: u16) -> Option<Occupant> {
        let bind =
            RefusedBind { protocol, address: Some(address), port, netns_inode: None, caller: None };
        let mut processes = ProcessEnricher::new(CommandLines::Masked);
        Occupant::of(&bind, &mut processes).expect("lists")
    }

    #[test]
    fn an_unspecified_address_of_ipv4_is_in_the_way_of_ipv4_alone() {
        let overlap = |wanted: &str, held: &str| {
            let local = SocketAddr::new(held.parse().expect("an address"), 53);
            overlaps(wanted.parse().ok(), &Entry { local, ..udp_socket(53).entry })
        };
        for (wanted, held) in [
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "::ffff:127.0.0.1"),
            ("0.0.0.0", "::"),
            ("::", "0.0.0.0"),
            ("::1", "::"),
            ("127.0.0.1", "::"),
        ] {
            assert!(overlap(wanted, held), "{wanted} {held}");
        }
        for (wanted, held) in [("::1", "0.0.0.0"), ("0.0.0.0", "::1"), ("::1", "::2")] {
            assert!(!overlap(wanted, held), "{wanted} {held}");
        }
    }

    fn is_held_here(occupant: &Occupant) -> bool {
        occupant.holders.iter().any(|holder| holder.pid == std::process::id())
    }

    #[test]
    fn finds_listeners_and_bound_sockets() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((local, 0)).expect("bound");
        let address = listener.local_addr().expect("an address");
        let occupant = found(Protocol::Tcp, local, address.port()).expect("one");
        assert_eq!((occupant.kind, occupant.local), (OccupantKind::Socket, address));
        assert!(is_held_here(&occupant), "{occupant:?}");
        let everywhere = found(Protocol::Tcp, Ipv6Addr::UNSPECIFIED.into(), address.port());
        assert!(everywhere.is_some());
        assert_eq!(found(Protocol::Tcp, Ipv4Addr::new(127, 0, 0, 9).into(), address.port()), None);
        assert_eq!(found(Protocol::Udp, local, address.port()), None);
        let datagrams = UdpSocket::bind((local, 0)).expect("bound");
        let address = datagrams.local_addr().expect("an address");
        let occupant = found(Protocol::Udp, local, address.port()).expect("one");
        assert!(occupant.kind == OccupantKind::Socket && is_held_here(&occupant));
    }

    #[test]
    fn finds_an_outgoing_connection_and_where_it_leads() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let server = TcpListener::bind((local, 0)).expect("bound");
        let peer = server.local_addr().expect("an address");
        let client = TcpStream::connect(peer).expect("connected");
        let address = client.local_addr().expect("an address");
        let occupant = found(Protocol::Tcp, local, address.port()).expect("one");
        assert_eq!(
            (occupant.kind, occupant.local, occupant.peer),
            (OccupantKind::Connection, address, Some(peer))
        );
        assert!(is_held_here(&occupant));
        // The side that closes first waits.
        drop(client);
        drop(server.accept().expect("accepted"));
        let occupant = found(Protocol::Tcp, local, address.port()).expect("one");
        assert!(occupant.holders.is_empty(), "{occupant:?}");
        assert!(matches!(occupant.kind, OccupantKind::TimeWait | OccupantKind::Connection));
    }
}
