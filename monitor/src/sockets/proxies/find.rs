//! Finds the containers behind proxies, and who listens there.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path as FilePath,
    sync::Arc,
};

use monitor_common::flow::{Protocol, Side};

use super::{
    command_line::mapping,
    proxy::{Mapping, NamespaceHint, Proxy},
};
use crate::{
    process::{
        Identity, ProcessEnricher, bounded_read,
        foreign_path::{FileId, Root},
        pod,
        proc_dir::ProcessDir,
    },
    sockets::{
        holders::distinct,
        namespaces::{self, NamespacePath, Namespaces},
        numbered,
        paths::{Ends, Place, Target},
        proc_net,
        socket::{Socket, TcpState},
    },
};

/// What a proxy does with a port that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The program that holds it.
    pub proxy: Proxy,
    /// Its process id.
    pub proxy_pid: u32,
    /// Address and port in the container, `:80` without an address; `None` if it cannot be found out.
    pub target: Option<String>,
    /// Ports of listeners in the container, where it is not known to which of them the port leads.
    pub possible_ports: Vec<u16>,
    /// Where that is.
    pub place: Place,
    /// The pod of the first holder: its name, or its uid where the name cannot be read.
    pub pod: Option<String>,
    /// The processes that listen at the target, or on any of the possible ports; empty if there are
    /// none or they cannot be seen.
    pub holders: Vec<Arc<Identity>>,
}

/// A socket that a proxy holds.
struct Held<'a> {
    socket: &'a Socket,
    process: &'a Identity,
    mapping: Mapping,
    /// Inode of the container's namespace, where the mapping leads to it.
    netns_inode: Option<u32>,
    /// The ports in the container that it may lead to; one if it is known.
    to: BTreeSet<u16>,
}

/// Finds the containers behind those of `sockets` that proxies hold.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn find(sockets: &[Socket], processes: &mut ProcessEnricher) -> io::Result<Vec<Forwarding>> {
    let mapped: Vec<_> = sockets.iter().flat_map(mapped).collect();
    if mapped.is_empty() {
        return Ok(Vec::new());
    }
    let proc = numbered::proc()?;
    let own = namespaces::own_inode()?;
    let namespaces = Namespaces::find(&proc)?;
    let mapped = mapped.into_iter();
    let held: Vec<Held<'_>> = mapped
        .map(|(socket, process, mapping)| Held::new(socket, process, mapping, &namespaces))
        .collect();
    let ports: BTreeSet<u16> = held.iter().flat_map(|held| &held.to).copied().collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    let ends = Ends::find(&namespaces, own, &ports, processes)?;
    let mut forwardings: Vec<Forwarding> =
        held.iter().map(|held| held.forwarding(own, &ends)).collect();
    forwardings.sort_by_key(|f| (f.port, f.protocol.name(), f.proxy, f.proxy_pid));
    // One socket for IPv4 and one for IPv6.
    forwardings.dedup_by_key(|f| (f.port, f.protocol, f.proxy_pid, f.target.clone()));
    Ok(forwardings)
}

/// The proxies that hold a socket.
fn mapped(socket: &Socket) -> impl Iterator<Item = (&Socket, &Identity, Mapping)> {
    let is_listening = socket.side == Side::Local && socket.entry.peer.is_none();
    let holders = socket.holders.iter().filter(move |_| is_listening);
    holders.filter_map(move |process| {
        let mapping = mapping(process, socket.port, socket.entry.protocol)?;
        Some((socket, &**process, mapping))
    })
}

impl NamespaceHint {
    /// A process in the namespace.
    fn member(&self, proxy: &Identity) -> Option<u32> {
        match self {
            Self::Process(pid) => Some(*pid),
            Self::Child => children(proxy.pid).into_iter().find(|child| {
                netns_of(*child).is_some_and(|inode| Some(inode) != proxy.netns_inode)
            }),
            // A file leads to no process; that of another mount namespace may not be there at all.
            Self::Path(_) => None,
        }
    }

    /// The namespace's inode.
    fn inode(&self, proxy: &Identity, member: Option<u32>) -> Option<u32> {
        let Self::Path(path) = self else { return netns_of(member?) };
        let (pid, path) = (proxy.pid, path.clone());
        let found = bounded_read::files_of(pid, move || {
            // As the proxy sees it, and as this process does: proxies shut themselves in.
            let roots = [pid, std::process::id()].into_iter();
            Ok(roots
                .filter_map(|pid| Root::of_process(pid).ok())
                .find_map(|root| namespace_inode(&root, path.as_bytes()).ok()))
        });
        u32::try_from(found.ok()??).ok()
    }
}

/// The inode of a namespace that is mounted on a file; an error without the mount, which another mount
/// namespace may have alone.
fn namespace_inode(root: &Root, path: &[u8]) -> io::Result<u64> {
    let found = root.find(path)?;
    let own = FileId::of(File::open("/proc/thread-self/ns/net")?, "")?;
    if found.is_on_device_of(&own) { Ok(found.inode) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn netns_of(pid: u32) -> Option<u32> {
    ProcessDir::open(pid).ok()?.netns_inode().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The ports of the listeners in the namespace whose `net` folder is `list`, those at a loopback
/// address only if the proxy reaches them.
fn listeners(list: &FilePath, protocol: Protocol, proxy: Proxy) -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    proc_net::list(list, |entry| {
        let listens = match protocol {
            Protocol::Tcp | Protocol::Sctp => entry.tcp_state == Some(TcpState::Listen),
            Protocol::Udp | Protocol::UdpLite => entry.peer.is_none(),
        };
        let is_reached = proxy.reaches_loopback() || !entry.local.ip().to_canonical().is_loopback();
        if entry.protocol == protocol && listens && is_reached {
            ports.insert(entry.local.port());
        }
    })?;
    Ok(ports)
}

impl<'a> Held<'a> {
    fn new(
        socket: &'a Socket,
        process: &'a Identity,
        mapping: Mapping,
        namespaces: &Namespaces,
    ) -> Self {
        let hint = mapping.namespace.as_ref();
        let member = hint.and_then(|hint| hint.member(process));
        let netns_inode = hint.and_then(|hint| hint.inode(process, member));
        let to = match mapping.port {
            Some(port) => BTreeSet::from([port]),
            None => {
                let paths = netns_inode.and_then(|inode| namespaces.paths.get(&inode));
                let lists = paths.into_iter().flatten().filter_map(NamespacePath::lists);
                let mut found = lists.map(|list| {
                    listeners(&list, socket.entry.protocol, mapping.proxy).unwrap_or_default()
                });
                found.find(|ports| !ports.is_empty()).unwrap_or_default()
            }
        };
        Self { socket, process, mapping, netns_inode, to }
    }

    fn forwarding(&self, own: u32, ends: &Ends) -> Forwarding {
        let protocol = self.socket.entry.protocol;
        let address = self.mapping.address;
        let targets = || self.to.iter().map(move |port| Target { address, port: *port });
        let target = targets().next().filter(|_| self.to.len() == 1);
        let here = self.socket.netns_inode.unwrap_or(own);
        let place = match (self.netns_inode, target) {
            (Some(netns_inode), _) => Place::Namespace { netns_inode },
            (None, Some(target)) if target.address.is_some() => ends.place(here, target),
            (None, _) => Place::Unknown,
        };
        let holders: Vec<_> =
            targets().flat_map(|to| ends.holders((place, here), protocol, Some(to))).collect();
        let holders = distinct(holders.iter());
        Forwarding {
            port: self.socket.port,
            protocol,
            proxy: self.mapping.proxy,
            proxy_pid: self.process.pid,
            target: target.map(|target| target.to_string()),
            possible_ports: if target.is_none() {
                self.to.iter().copied().collect()
            } else {
                Vec::new()
            },
            place,
            pod: pod::of_first(&holders),
            holders,
        }
    }
}
