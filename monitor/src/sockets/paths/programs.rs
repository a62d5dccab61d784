//! Programs of others that may take packets of a port, or get the data of its sockets, in every
//! network namespace. Which packets a program takes is not known before it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use monitor_common::flow::Protocol;
use monitor_kernel::{
    other_programs::OtherProgram,
    socket_maps::{self as kernel_maps, SocketMap},
};

use super::{
    explain::programs_that_choose_sockets,
    program_holders::{self, Object},
    route::{Place, PortReach},
    socket_maps::{self, PortSocket},
    visit,
    xdp::{self, Taker, XdpProgram},
};
use crate::{
    process::{Identity, ProcessEnricher, pod},
    sockets::{
        captures::Capture,
        namespaces::{self, Namespaces},
        numbered,
        port_filter::PortFilter,
        reach::{Path, Reach, Standing},
    },
};

/// Names of this project's XDP programs, as the kernel cuts them.
const OWN_XDP: [&str; 2] = ["xdp_ingress", "xdp_ingress_fra"];

/// Finds the programs of others that may take packets of `wanted`, and those that get the data of
/// their sockets; `captures` are the sockets that a scan found. Programs that this process may not
/// list are not found.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn find(
    wanted: &[(u16, Protocol)],
    captures: &[Capture],
    processes: &mut ProcessEnricher,
) -> io::Result<Vec<PortReach>> {
    let maps = kernel_maps::with_programs().unwrap_or_else(|error| {
        tracing::debug!(%error, "maps of sockets cannot be listed");
        Vec::new()
    });
    let ports: BTreeSet<u16> = wanted.iter().map(|(port, _)| *port).collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    let filter = PortFilter::new(&ports);
    let look = |netns_inode| Seen::here(netns_inode, captures, &maps, &filter);
    let own = namespaces::own_inode()?;
    let namespaces = Namespaces::find(&numbered::proc()?)?;
    let mut seen = vec![(own, look(own))];
    seen.extend(visit::others(&namespaces, own, look)?);
    let mut found = Vec::new();
    for (netns_inode, seen) in seen {
        for map in &maps {
            found.extend(socket_maps::ways(map, netns_inode, &seen.sockets, processes));
        }
        let programs = seen.programs(processes);
        // Neither looks at other protocols in a way that is known.
        let wanted = wanted.iter().filter(|(_, protocol)| Protocol::COMMON.contains(protocol));
        found.extend(wanted.flat_map(|&(port, protocol)| {
            programs.iter().map(move |program| program.way(port, protocol, netns_inode))
        }));
    }
    found.retain(|reach| wanted.contains(&(reach.port, reach.protocol)));
    Ok(found)
}

/// What a namespace has.
struct Seen {
    choosers: Vec<OtherProgram>,
    takers: Vec<Taker>,
    sockets: BTreeMap<u64, PortSocket>,
}

impl Seen {
    /// Of the calling thread's namespace, which is `netns_inode`.
    fn here(
        netns_inode: u32,
        captures: &[Capture],
        maps: &[SocketMap],
        filter: &PortFilter<'_>,
    ) -> Self {
        let is_own = |_: &XdpProgram, program: &OtherProgram| {
            program.name.as_ref().is_some_and(|name| OWN_XDP.contains(&&**name))
        };
        let takers = xdp::takers(netns_inode, captures, is_own).unwrap_or_else(|error| {
            tracing::debug!(%error, "XDP programs cannot be listed");
            Vec::new()
        });
        let sockets = if maps.is_empty() { BTreeMap::new() } else { socket_maps::sockets(filter) };
        let choosers = programs_that_choose_sockets().unwrap_or_else(|error| {
            tracing::debug!(%error, "programs that choose sockets cannot be listed");
            Vec::new()
        });
        Self { choosers, takers, sockets }
    }

    /// The programs that may take packets: XDP programs only with sockets to give them to, because
    /// most are filters.
    fn programs(self, processes: &mut ProcessEnricher) -> Vec<Program> {
        let choosers = self.choosers.into_iter().map(|program| {
            let target = program.to_string();
            (Path::SkLookup, target, program.id, Vec::new())
        });
        let takers = self.takers.into_iter().filter(|taker| taker.has_sockets);
        let takers = takers.map(|taker| (Path::Xdp, taker.program, taker.id, taker.holders));
        let all = choosers.chain(takers);
        all.map(|(path, target, id, holders)| {
            let holders = if holders.is_empty() {
                program_holders::find(&[Object::Program(id)], processes)
            } else {
                holders
            };
            Program { path, target, holders }
        })
        .collect()
    }
}

/// A program that may take packets.
struct Program {
    path: Path,
    target: String,
    holders: Vec<Arc<Identity>>,
}

impl Program {
    fn way(&self, port: u16, protocol: Protocol, netns_inode: u32) -> PortReach {
        PortReach {
            port,
            protocol,
            netns_inode,
            reach: Reach { path: self.path, target: Some(self.target.clone()) },
            standing: Standing::Configured,
            connections: None,
            place: if self.holders.is_empty() { Place::Unknown } else { Place::Here },
            pod: pod::of_first(&self.holders),
            holders: self.holders.clone(),
        }
    }
}
