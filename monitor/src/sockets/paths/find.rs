//! Finds the ways, and who is at their ends.

use std::{collections::BTreeMap, fs, io, path::Path as FilePath};

use monitor_common::{flow::Protocol, ports::PortSet};
use monitor_kernel::capabilities;

use super::{
    conntrack,
    ends::Ends,
    ipvs,
    judge::{Judged, judged},
    legacy::has_unread_rules,
    nft,
    route::{Place, PortReach, Route, Target},
    visit,
};
use crate::{
    process::{ProcessEnricher, pod},
    sockets::{
        addresses::Addresses,
        namespaces::{self, HERE, Namespaces},
        numbered,
        reach::Reach,
    },
};

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
    let proc = numbered::proc()?;
    let own = namespaces::own_inode()?;
    let mut found = BTreeMap::from([(own, sources.routes(wanted))]);
    let mut namespaces = None;
    if extent == Extent::Everywhere {
        let all = namespaces.insert(Namespaces::find(&proc)?);
        found.extend(visit::others(all, own, |_| sources.routes(wanted))?);
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
    let ends = Ends::find(&namespaces, own, &targets, processes)?;
    let ways = found
        .into_iter()
        .flat_map(|(netns_inode, routes)| routes.into_iter().map(move |way| (netns_inode, way)));
    Ok(ways.map(|(netns_inode, way)| reach(&ends, netns_inode, way)).collect())
}

/// Whether this process may read what [`find()`] reads.
pub fn tables_are_readable() -> bool {
    capabilities::has_net_admin()
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

    /// The routes in the tables of the calling thread's namespace, and whether they are used.
    fn routes(self, wanted: &[(u16, Protocol)]) -> Vec<Judged> {
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
        judged(&routes, !has_unread_rules())
    }
}

fn targets(found: &BTreeMap<u32, Vec<Judged>>) -> impl Iterator<Item = Target> {
    found.values().flatten().filter_map(|judged| judged.route.target)
}

/// A way with what is at its end.
fn reach(ends: &Ends, netns_inode: u32, mut judged: Judged) -> PortReach {
    let target = judged.route.target;
    let place = target.map_or(Place::Unknown, |target| ends.place(netns_inode, target));
    // The kernel may no longer see the connections whose rule is gone, and not their end either.
    if !judged.may_lead
        && let Some(lasting) = ends.lasting((place, netns_inode), &judged.route)
    {
        judged = judged.with_lasting(lasting);
    }
    let Judged { route, standing, .. } = judged;
    let holders = ends.holders((place, netns_inode), route.protocol, route.target);
    PortReach {
        port: route.port,
        protocol: route.protocol,
        netns_inode,
        reach: Reach { path: route.path, target: route.target.map(|target| target.to_string()) },
        standing,
        connections: route.connections,
        place,
        pod: pod::of_first(&holders),
        holders,
    }
}
