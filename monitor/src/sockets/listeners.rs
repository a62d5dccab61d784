//! Every listener of this host: sockets on any port that wait for others to begin.
//!
//! A listener is a TCP or SCTP socket that listens, or a socket of UDP or UDP-Lite without a peer whose
//! program named the port. Where it is not known who chose the port, one that the kernel may choose is
//! a client's.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::RangeInclusive,
    path::Path,
};

use monitor_common::{
    flow::Side,
    held_socket::{HeldSocket, flags},
};

use super::{
    automatic_ports,
    bound_interfaces::{self, BoundInterface},
    descriptors, diag, held,
    holders::Holders,
    namespaces::{self, HERE, Namespaces, is_gone},
    numbered, proc_net,
    scan::Unseen,
    scopes::Scopes,
    socket::{Entry, Socket, TcpState},
    visibility::HiddenProcesses,
};
use crate::process::ProcessEnricher;

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenListener {
    /// The socket.
    pub socket: Socket,
    /// Whether its program named the port; `None` if that is not known.
    pub port_was_named: Option<bool>,
}

/// What a look at all listeners found.
#[derive(Debug, Default)]
pub struct Listeners {
    /// By port.
    pub listeners: Vec<OpenListener>,
    /// Network namespaces whose sockets were listed.
    pub namespaces: usize,
    /// What was not seen.
    pub unseen: Unseen,
}

/// Finds all listeners and their holders. `held` is the kernel side's list of open sockets, `None` if
/// there is none: descriptors are searched instead.
///
/// # Errors
/// `/proc` cannot be read; parts of it that cannot are counted in [`Listeners::unseen`].
pub fn find_listeners(
    processes: &mut ProcessEnricher,
    held: Option<&[HeldSocket]>,
) -> io::Result<Listeners> {
    let proc = numbered::proc()?;
    let own = namespaces::own_inode()?;
    let namespaces = Namespaces::find(&proc)?;
    let mut list = namespaces::on_own_thread(|| List::of_all(&namespaces, own))?;
    let mut holders = Holders::default();
    let held_by_inode = held.map(by_inode).unwrap_or_default();
    for (_, entry) in &mut list.entries {
        if let Some(record) = held_by_inode.get(&entry.inode) {
            held::complete(entry, record);
        }
    }
    let named = |inode: u32| held_by_inode.get(&inode).map(|record| is_named(record));
    let automatic = automatic_ports::range();
    list.entries.retain(|(_, entry)| waits_for_others(entry, named(entry.inode), &automatic));
    let mut searched: HashSet<u32> = list.entries.iter().map(|(_, entry)| entry.inode).collect();
    searched.remove(&0);
    if let Some(held) = held {
        let lost = holders.add_listed(held, processes);
        searched.retain(|inode| lost.contains(inode) || !held_by_inode.contains_key(inode));
    }
    let found = descriptors::find(&proc, &searched)?;
    let unseen = Unseen {
        namespaces: list.refused,
        processes: namespaces.hidden.len(),
        holders: found.unreadable,
        hidden: HiddenProcesses::here(),
    };
    holders.add_found(found, processes);
    let mut scopes = Scopes::new(&namespaces, own, list.interfaces);
    let listener = |(netns_inode, entry): (u32, Entry)| {
        let holders = holders.of(entry.inode);
        let holders_unknown = holders.is_empty() && unseen.may_have_holders();
        let socket = Socket {
            port: entry.local.port(),
            side: Side::Local,
            netns_inode: Some(netns_inode),
            scope: scopes.of(Some(netns_inode), &entry),
            interface: scopes.interface(Some(netns_inode), &entry),
            entry,
            holders,
            holders_unknown,
            is_accepted: false,
            expected: None,
        };
        OpenListener { socket, port_was_named: named(entry.inode) }
    };
    let mut listeners: Vec<OpenListener> = list.entries.into_iter().map(listener).collect();
    listeners.sort_by_key(|listener| listener.socket.order());
    Ok(Listeners { listeners, namespaces: list.namespaces, unseen })
}

fn by_inode(held: &[HeldSocket]) -> HashMap<u32, &HeldSocket> {
    held.iter().map(|record| (record.socket_inode, record)).collect()
}

/// Whether a bind named the port of the socket.
const fn is_named(record: &HeldSocket) -> bool {
    record.flags & flags::NAMED_PORT != 0
}

/// Whether the socket is a listener.
fn waits_for_others(
    entry: &Entry,
    port_was_named: Option<bool>,
    automatic: &RangeInclusive<u16>,
) -> bool {
    if entry.protocol.is_datagram() {
        let is_named = port_was_named.unwrap_or(!automatic.contains(&entry.local.port()));
        entry.peer.is_none() && is_named
    } else {
        entry.tcp_state == Some(TcpState::Listen)
    }
}

/// The sockets of a namespace, and its interfaces by index, if they matter.
type Found = (Vec<Entry>, BTreeMap<u32, BoundInterface>);

/// Sockets that may be listeners.
#[derive(Debug, Default)]
struct List {
    entries: Vec<(u32, Entry)>,
    /// Interfaces by namespace and index, where a socket is bound to one.
    interfaces: BTreeMap<(u32, u32), BoundInterface>,
    namespaces: usize,
    refused: usize,
}

impl List {
    /// Those of every namespace. The calling thread is in any of them afterwards.
    fn of_all(namespaces: &Namespaces, own: u32) -> Self {
        let mut list = Self::default();
        list.add(own, here());
        for (&inode, paths) in namespaces.paths.iter().filter(|(inode, _)| **inode != own) {
            list.add(
                inode,
                namespaces::within_any(paths, inode, here, |lists| {
                    Ok((listed(lists)?, BTreeMap::new()))
                }),
            );
        }
        list
    }

    fn add(&mut self, inode: u32, found: io::Result<Found>) {
        match found {
            Ok((entries, interfaces)) => {
                self.namespaces += 1;
                self.entries.extend(entries.into_iter().map(|entry| (inode, entry)));
                let interfaces = interfaces.into_iter();
                self.interfaces.extend(interfaces.map(|(index, known)| ((inode, index), known)));
            }
            // Its last process has left it, and it has ended.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                tracing::debug!(%error, inode, "the listeners of a network namespace stay unknown");
                self.refused += 1;
            }
        }
    }
}

/// The sockets of the calling thread's namespace.
fn here() -> io::Result<Found> {
    let mut entries = Vec::new();
    let lists = Path::new(HERE);
    if diag::list_acceptors(|entry| entries.push(entry)).is_err() {
        entries = listed(lists)?;
    } else {
        proc_net::list_rare(lists, |entry| entries.push(entry))?;
    }
    let interfaces = bound_interfaces::of(&entries);
    Ok((entries, interfaces))
}

/// The sockets of a `net` folder.
fn listed(lists: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    proc_net::list(lists, |entry| entries.push(entry))?;
    proc_net::list_rare(lists, |entry| entries.push(entry))?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use monitor_common::flow::Protocol;

    use super::*;
    use crate::{config::CommandLines, sockets::udp_socket};

    fn find() -> Listeners {
        let mut processes = ProcessEnricher::new(CommandLines::Masked);
        find_listeners(&mut processes, None).expect("a look")
    }

    #[test]
    fn finds_listeners_with_their_holders_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let client = TcpStream::connect(at).expect("connected");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let found = find().listeners;
        let of = |address| {
            found.iter().filter(|found| found.socket.entry.local == address).collect::<Vec<_>>()
        };
        let [found_listener] = of(at)[..] else { panic!("the listener: {:?}", of(at)) };
        assert_eq!(found_listener.socket.entry.protocol, Protocol::Tcp);
        let holders: Vec<u32> =
            found_listener.socket.holders.iter().map(|holder| holder.pid).collect();
        assert_eq!(holders, [std::process::id()]);
        assert_eq!(of(client.local_addr().expect("an address")), Vec::<&OpenListener>::new());
        let client = datagrams.local_addr().expect("an address");
        assert_eq!(of(client), Vec::<&OpenListener>::new(), "the kernel chose the port");
    }

    #[test]
    fn a_socket_of_udp_is_a_listener_if_its_port_was_named() {
        let automatic = 32_768..=60_999;
        let on = |port| udp_socket(port).entry;
        assert!(waits_for_others(&on(53), None, &automatic));
        assert!(!waits_for_others(&on(40_000), None, &automatic));
        assert!(waits_for_others(&on(40_000), Some(true), &automatic));
        assert!(!waits_for_others(&on(53), Some(false), &automatic));
        let connected = Entry { peer: Some(([127, 0, 0, 1], 9).into()), ..on(53) };
        assert!(!waits_for_others(&connected, None, &automatic));
    }
}
