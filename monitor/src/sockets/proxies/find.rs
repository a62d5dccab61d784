//! Finds the containers behind proxies, and who listens there.

use std::{
    collections::BTreeSet, fs, io, os::unix::fs::MetadataExt as _, path::Path as FilePath,
    sync::Arc,
};

use monitor_common::flow::{Protocol, Side};

use super::{
    command_line::mapping,
    proxy::{Mapping, NamespaceHint, Proxy},
};
use crate::{
    process::{Identity, ProcessEnricher, pod, proc_dir::ProcessDir},
    sockets::{
        namespaces::{self, Namespaces},
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
    /// Where that is.
    pub place: Place,
    /// The pod of the first holder: its name, or its uid where the name cannot be read.
    pub pod: Option<String>,
    /// The processes that listen there; empty if there are none or they cannot be seen.
    pub holders: Vec<Arc<Identity>>,
}

/// A socket that a proxy holds.
struct Held<'a> {
    socket: &'a Socket,
    process: &'a Identity,
    mapping: Mapping,
    /// Inode of the container's namespace, where the mapping leads to it.
    netns_inode: Option<u32>,
    /// The port in the container.
    to: Option<u16>,
}

/// Finds the containers behind those of `sockets` that proxies hold.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn find(sockets: &[Socket], processes: &mut ProcessEnricher) -> io::Result<Vec<Forwarding>> {
    let held: Vec<Held<'_>> = sockets.iter().flat_map(held).collect();
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let proc = numbered::proc()?;
    let own = namespaces::own_inode()?;
    let ports: BTreeSet<u16> = held.iter().filter_map(|held| held.to).collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    let ends = Ends::find(&Namespaces::find(&proc)?, own, &ports, processes)?;
    let mut forwardings: Vec<Forwarding> =
        held.iter().map(|held| held.forwarding(own, &ends)).collect();
    forwardings.sort_by_key(|f| (f.port, f.protocol.name(), f.proxy, f.proxy_pid));
    // One socket for IPv4 and one for IPv6.
    forwardings.dedup_by_key(|f| (f.port, f.protocol, f.proxy_pid, f.target.clone()));
    Ok(forwardings)
}

fn held(socket: &Socket) -> impl Iterator<Item = Held<'_>> {
    let is_listening = socket.side == Side::Local && socket.entry.peer.is_none();
    let holders = socket.holders.iter().filter(move |_| is_listening);
    holders.filter_map(|process| {
        let mapping = mapping(process, socket.port, socket.entry.protocol)?;
        let hint = mapping.namespace.as_ref();
        let member = hint.and_then(|hint| hint.member(process));
        let netns_inode = hint.and_then(|hint| hint.inode(process, member));
        let only = || only_listener(member?, socket.entry.protocol);
        let to = mapping.port.or_else(only);
        Some(Held { socket, process, mapping, netns_inode, to })
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
        // As the proxy sees it, and as this process does: proxies shut themselves in.
        let own = format!("/proc/{}/root{path}", proxy.pid);
        let found = [own.as_str(), path].into_iter().find_map(namespace_inode)?;
        u32::try_from(found).ok()
    }
}

/// The inode of a namespace that is mounted on a file. Without the mount, which another mount namespace
/// may have alone, the file is an empty one.
fn namespace_inode(path: &str) -> Option<u64> {
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    let filesystem = rustix::fs::statfs(path).ok()?;
    let is_namespace = filesystem.f_type as u64 == NSFS_MAGIC;
    is_namespace.then(|| fs::metadata(path).ok().map(|file| file.ino())).flatten()
}

fn netns_of(pid: u32) -> Option<u32> {
    ProcessDir::open(pid).ok()?.netns_inode().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The port of the only listeners in the namespace of a process.
fn only_listener(member: u32, protocol: Protocol) -> Option<u16> {
    let mut ports = BTreeSet::new();
    let list = FilePath::new("/proc").join(format!("{member}/net"));
    proc_net::list(&list, |entry| {
        let listens = match protocol {
            Protocol::Tcp | Protocol::Sctp => entry.tcp_state == Some(TcpState::Listen),
            Protocol::Udp | Protocol::UdpLite => entry.peer.is_none(),
        };
        if entry.protocol == protocol && listens {
            ports.insert(entry.local.port());
        }
    })
    .ok()?;
    match ports.len() {
        1 => ports.into_iter().next(),
        _ => None,
    }
}

impl Held<'_> {
    fn forwarding(&self, own: u32, ends: &Ends) -> Forwarding {
        let protocol = self.socket.entry.protocol;
        let target = self.to.map(|port| Target { address: self.mapping.address, port });
        let here = self.socket.netns_inode.unwrap_or(own);
        let place = match (self.netns_inode, target) {
            (Some(netns_inode), _) => Place::Namespace { netns_inode },
            (None, Some(target)) if target.address.is_some() => ends.place(here, target),
            (None, _) => Place::Unknown,
        };
        let holders = ends.holders((place, here), protocol, target);
        Forwarding {
            port: self.socket.port,
            protocol,
            proxy: self.mapping.proxy,
            proxy_pid: self.process.pid,
            target: target.map(|target| target.to_string()),
            place,
            pod: pod::of_first(&holders),
            holders,
        }
    }
}
