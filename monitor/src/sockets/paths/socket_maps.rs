//! Sockmaps: programs that get the data of sockets which hold a port, and may pass it on.

use std::collections::BTreeMap;

use monitor_common::flow::{Protocol, Side};
use monitor_kernel::{other_programs::OtherProgram, socket_maps::SocketMap};

use super::{
    program_holders::{self, Object},
    route::{Place, PortReach},
};
use crate::{
    process::{ProcessEnricher, pod},
    sockets::{
        diag,
        port_filter::PortFilter,
        reach::{Path, Reach, Standing},
    },
};

/// A socket on a watched port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortSocket {
    port: u16,
    protocol: Protocol,
    is_connection: bool,
}

/// The sockets of the calling thread's network namespace that have one of the ports at their own end,
/// by their cookies.
pub(super) fn sockets(filter: &PortFilter<'_>) -> BTreeMap<u64, PortSocket> {
    let mut found = BTreeMap::new();
    let listed = diag::list_with_cookies(filter.ports, |entry, cookie| {
        for (port, side) in filter.ends(&entry).into_iter().flatten() {
            if side == Side::Local {
                let (protocol, is_connection) = (entry.protocol, entry.peer.is_some());
                found.insert(cookie, PortSocket { port, protocol, is_connection });
            }
        }
    });
    if let Err(error) = listed {
        tracing::debug!(%error, "sockets in maps cannot be recognized");
    }
    found
}

/// The ports whose sockets a map has, with the number of connections among them.
fn ports_in(
    map: &SocketMap,
    sockets: &BTreeMap<u64, PortSocket>,
) -> BTreeMap<(u16, Protocol), u64> {
    let mut ports = BTreeMap::new();
    for socket in map.cookies.iter().filter_map(|cookie| sockets.get(cookie)) {
        let connections = ports.entry((socket.port, socket.protocol)).or_default();
        *connections += u64::from(socket.is_connection);
    }
    ports
}

/// The ways through the programs of `map` from the sockets of a namespace.
pub(super) fn ways(
    map: &SocketMap,
    netns_inode: u32,
    sockets: &BTreeMap<u64, PortSocket>,
    processes: &mut ProcessEnricher,
) -> Vec<PortReach> {
    let ports = ports_in(map, sockets);
    if ports.is_empty() {
        return Vec::new();
    }
    let programs = map.programs.iter().map(|program| Object::Program(program.id));
    let objects: Vec<Object> = programs.chain([Object::Map(map.id)]).collect();
    let holders = program_holders::find(&objects, processes);
    let names: Vec<String> = map.programs.iter().map(OtherProgram::to_string).collect();
    let target = names.join(", ");
    let way = |((port, protocol), connections)| PortReach {
        port,
        protocol,
        netns_inode,
        reach: Reach { path: Path::Sockmap, target: Some(target.clone()) },
        standing: Standing::InUse,
        connections: Some(connections),
        place: if holders.is_empty() { Place::Unknown } else { Place::Here },
        pod: pod::of_first(&holders),
        holders: holders.clone(),
    };
    ports.into_iter().map(way).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_with_a_socket_in_the_map_are_led_on() {
        let socket =
            |port, is_connection| PortSocket { port, protocol: Protocol::Tcp, is_connection };
        let sockets = BTreeMap::from([
            (1, socket(2948, true)),
            (2, socket(2948, true)),
            (3, socket(2949, true)),
            (4, socket(2948, false)),
        ]);
        let map = SocketMap { id: 1, programs: Vec::new(), cookies: vec![1, 2, 4, 99] };
        let expected = BTreeMap::from([((2948, Protocol::Tcp), 2)]);
        assert_eq!(ports_in(&map, &sockets), expected);
    }
}
