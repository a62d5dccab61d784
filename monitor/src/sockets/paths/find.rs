//! Finds the ways, and who is at their ends.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path as FilePath,
    thread,
};

use monitor_common::{flow::Protocol, ports::PortSet};
use rustix::{
    fs::{Mode, OFlags},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    conntrack, ipvs, nft,
    route::{Place, PortReach, Route, Target},
};
use crate::{
    process::ProcessEnricher,
    sockets::{
        addresses::Addresses,
        namespaces::{NamespacePath, Namespaces},
        reach::Reach,
        scan::scan,
        socket::Socket,
    },
};

/// The folder of the calling thread's namespace.
const HERE: &str = "/proc/thread-self/net";

/// Whose tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Those of the calling thread's network namespace.
    Here,
    /// Those of every network namespace that can be entered.
    Everywhere,
}

/// Finds how packets to `wanted` are led past the sockets that hold these ports. Tables that this
/// process may not read count as empty.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn find(
    wanted: &[(u16, Protocol)],
    extent: Extent,
    processes: &mut ProcessEnricher,
) -> io::Result<Vec<PortReach>> {
    let sources = Sources::detect();
    if wanted.is_empty() || sources == Sources::default() {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let own = fs::metadata("/proc/thread-self/ns/net")?.ino() as u32;
    let mut found = BTreeMap::from([(own, sources.routes(wanted))]);
    let mut namespaces = None;
    if extent == Extent::Everywhere {
        let all = namespaces.insert(Namespaces::find(&proc)?);
        found.extend(elsewhere(all, own, sources, wanted)?);
    }
    found.retain(|_, routes| !routes.is_empty());
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let namespaces = match namespaces {
        Some(namespaces) => namespaces,
        None => Namespaces::find(&proc)?,
    };
    let targets: Vec<u16> = targets(&found).map(|target| target.port).collect();
    let sockets = scan(&targets, processes)?.sockets;
    let ends = Ends { addresses: addresses(&namespaces, own), sockets };
    let reaches = found.into_iter().flat_map(|(netns_inode, routes)| {
        merged(routes).into_iter().map(move |route| (netns_inode, route))
    });
    Ok(reaches.map(|(netns_inode, route)| ends.reach(netns_inode, route)).collect())
}

/// What the kernel has of tables, and can be asked for without loading a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sources {
    connections: bool,
    rules: bool,
    services: bool,
}

impl Sources {
    fn detect() -> Self {
        Self {
            connections: conntrack::is_present(),
            rules: nft::is_present(),
            services: FilePath::new(HERE).join("ip_vs").exists(),
        }
    }

    /// The routes in the tables of the calling thread's namespace.
    fn routes(self, wanted: &[(u16, Protocol)]) -> Vec<Route> {
        let here = FilePath::new(HERE);
        let Ok(local) = Addresses::read(here) else { return Vec::new() };
        let ports: PortSet = wanted.iter().map(|(port, _)| *port).collect();
        let or_none = |what: &str, routes: io::Result<Vec<Route>>| {
            routes.unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot read {what}");
                Vec::new()
            })
        };
        let mut routes = Vec::new();
        if self.connections {
            routes = or_none("the tracked connections", conntrack::routes(&ports, &local));
        }
        if self.services {
            let services = fs::read_to_string(here.join("ip_vs"));
            let services = services.map(|list| ipvs::routes(&list, &ports, &local));
            routes.extend(or_none("the services of IPVS", services));
        }
        if self.rules {
            routes.extend(or_none("the rules of nftables", nft::routes(wanted, &local)));
        }
        routes.retain(|route| wanted.contains(&(route.port, route.protocol)));
        routes
    }
}

/// The routes in the tables of other namespaces than `own`. A thread enters each; it does not return
/// to its own.
fn elsewhere(
    namespaces: &Namespaces,
    own: u32,
    sources: Sources,
    wanted: &[(u16, Protocol)],
) -> io::Result<Vec<(u32, Vec<Route>)>> {
    let others = namespaces.paths.iter().filter(|(inode, _)| **inode != own);
    let visit = || {
        let enter = |(inode, paths): (&u32, &Vec<NamespacePath>)| {
            let namespace = paths.iter().find_map(|path| path.open(*inode).ok())?;
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).ok()?;
            Some((*inode, sources.routes(wanted)))
        };
        others.filter_map(enter).collect()
    };
    thread::scope(|scope| {
        thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, visit)?
            .join()
            .map_err(|_| io::Error::other("the thread that reads tables has panicked"))
    })
}

fn targets(found: &BTreeMap<u32, Vec<Route>>) -> impl Iterator<Item = Target> {
    found.values().flatten().filter_map(|route| route.target)
}

/// Leaves out rules that connections show at work: a rule leads to the same port, and to the same
/// address or to whichever this host has.
fn merged(routes: Vec<Route>) -> Vec<Route> {
    let is_same = |rule: &Route, used: &Route| {
        let ends = rule.target.zip(used.target);
        let same_end = ends.is_some_and(|(rule, used)| {
            rule.port == used.port && (rule.address.is_none() || rule.address == used.address)
        });
        used.connections.is_some()
            && (rule.port, rule.protocol) == (used.port, used.protocol)
            && same_end
    };
    let is_shown = |route: &&Route| {
        route.connections.is_some() || !routes.iter().any(|used| is_same(route, used))
    };
    routes.iter().filter(is_shown).cloned().collect()
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

/// What may be at the end of a route.
struct Ends {
    addresses: BTreeMap<u32, Addresses>,
    sockets: Vec<Socket>,
}

impl Ends {
    fn reach(&self, netns_inode: u32, route: Route) -> PortReach {
        let place = route.target.map_or(Place::Unknown, |target| self.place(netns_inode, target));
        let inode = match place {
            Place::Here => Some(netns_inode),
            Place::Namespace { netns_inode } => Some(netns_inode),
            Place::Elsewhere | Place::Unknown => None,
        };
        let is_there = |socket: &&Socket, target: Target| {
            let local = socket.entry.local;
            socket.netns_inode == inode
                && socket.entry.protocol == route.protocol
                && socket.entry.peer.is_none()
                && local.port() == target.port
                && target.address.is_none_or(|address| takes(local.ip(), address))
        };
        let mut holders = Vec::new();
        if let (Some(_), Some(target)) = (inode, route.target) {
            for socket in self.sockets.iter().filter(|socket| is_there(socket, target)) {
                for holder in &socket.holders {
                    if !holders.contains(holder) {
                        holders.push(holder.clone());
                    }
                }
            }
        }
        let target = route.target.map(|target| target.to_string());
        PortReach {
            port: route.port,
            protocol: route.protocol,
            netns_inode,
            reach: Reach { path: route.path, target },
            connections: route.connections,
            place,
            holders,
        }
    }

    /// The namespace of the route itself comes first: others may have the same private address.
    fn place(&self, netns_inode: u32, target: Target) -> Place {
        let Some(address) = target.address else { return Place::Here };
        let has = |inode: &u32| self.addresses.get(inode).is_some_and(|own| own.contains(address));
        if has(&netns_inode) {
            return Place::Here;
        }
        let other = self.addresses.keys().find(|inode| !address.is_loopback() && has(inode));
        other.map_or(Place::Elsewhere, |inode| Place::Namespace { netns_inode: *inode })
    }
}

/// Whether a socket at `local` takes packets to `address`. One of IPv6 may take IPv4, too.
fn takes(local: IpAddr, address: IpAddr) -> bool {
    let (local, address) = (local.to_canonical(), address.to_canonical());
    local == address || (local.is_unspecified() && (local.is_ipv6() || address.is_ipv4()))
}
