//! Open sockets as the kernel side lists them: their holders, and sockets that no other list has.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use monitor_common::{
    flow::Protocol,
    held_socket::{HeldSocket, flags},
};

use super::{
    port_filter::PortFilter,
    socket::{Entry, TcpState},
};
use crate::process::start_time::ProcessKey;

/// The holders of each socket, by its inode. A process is one holder, however many of its threads
/// and descriptors lead to the socket.
pub(super) fn by_inode(held: &[HeldSocket]) -> HashMap<u32, BTreeSet<ProcessKey>> {
    let mut holders = HashMap::<u32, BTreeSet<ProcessKey>>::new();
    for record in held {
        let process = ProcessKey { pid: record.tgid, start_time_ns: record.start_time_ns };
        holders.entry(record.socket_inode).or_default().insert(process);
    }
    holders
}

/// Adds the sockets that no other list has, the namespaces of those whose list did not show its own, and
/// what lists lack.
pub(super) fn add_unlisted(
    listed: &mut Vec<(Option<u32>, Entry)>,
    held: &[HeldSocket],
    filter: &PortFilter<'_>,
) {
    let records: HashMap<u32, &HeldSocket> =
        held.iter().map(|record| (record.socket_inode, record)).collect();
    for (netns_inode, entry) in &mut *listed {
        let Some(record) = records.get(&entry.inode) else { continue };
        netns_inode.get_or_insert(record.netns_inode);
        complete(entry, record);
    }
    let mut known: HashSet<(Option<u32>, u32)> =
        listed.iter().map(|(netns_inode, entry)| (*netns_inode, entry.inode)).collect();
    for record in held {
        let Some(entry) = entry(record) else { continue };
        let netns_inode = Some(record.netns_inode);
        if filter.matches(&entry) && known.insert((netns_inode, entry.inode)) {
            listed.push((netns_inode, entry));
        }
    }
}

/// `None` for a record that the kernel side never writes.
fn entry(record: &HeldSocket) -> Option<Entry> {
    let end = |address, port| Some(SocketAddr::new(ip(record.family, address)?, port));
    let protocol = Protocol::from_ip_number(record.protocol)?;
    let peer = end(record.peer_address, record.peer_port)?;
    Some(Entry {
        protocol,
        local: end(record.local_address, record.local_port)?,
        peer: (peer.port() != 0).then_some(peer),
        tcp_state: (!protocol.is_datagram()).then(|| TcpState::from_number(record.state)).flatten(),
        inode: record.socket_inode,
        interface: record.interface,
        is_v6_only: v6_only(record),
    })
}

/// Whether an IPv6 socket without a peer accepts no IPv4.
fn v6_only(record: &HeldSocket) -> Option<bool> {
    let has_it = record.family == 6 && record.peer_port == 0;
    has_it.then_some(record.flags & flags::V6_ONLY != 0)
}

/// Adds what a list of `/proc/PID/net` lacks.
pub(super) fn complete(entry: &mut Entry, record: &HeldSocket) {
    if entry.interface == 0 {
        entry.interface = record.interface;
    }
    entry.is_v6_only = entry.is_v6_only.or_else(|| v6_only(record));
}

fn ip(family: u8, address: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = address;
    match family {
        4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        6 => Some(Ipv6Addr::from(address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::udp_socket;

    const HERE: u32 = 4_026_531_840;
    const THERE: u32 = 4_026_532_000;

    /// A UDP socket on port 2948 that process 7 has open.
    fn open(netns_inode: u32, socket_inode: u32) -> HeldSocket {
        let mut local_address = [0; 16];
        local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        HeldSocket {
            start_time_ns: 1,
            tgid: 7,
            socket_inode,
            netns_inode,
            local_port: 2948,
            peer_port: 0,
            local_address,
            peer_address: [0; 16],
            protocol: 17,
            family: 4,
            state: 7,
            flags: 0,
            interface: 0,
        }
    }

    fn listed(netns_inode: Option<u32>, inode: u32) -> (Option<u32>, Entry) {
        let local = "127.0.0.1:2948".parse().expect("an address");
        let entry = Entry { local, inode, ..udp_socket(2948).entry };
        (netns_inode, entry)
    }

    #[test]
    fn adds_a_socket_that_no_list_has_once() {
        let mut list = vec![listed(Some(HERE), 1)];
        let found = [open(HERE, 1), open(THERE, 2), open(THERE, 2)];
        add_unlisted(&mut list, &found, &PortFilter::new(&[2948]));
        assert_eq!(list, [listed(Some(HERE), 1), listed(Some(THERE), 2)]);
    }

    #[test]
    fn adds_the_namespace_of_a_list_without_one() {
        let mut list = vec![listed(None, 1), listed(None, 3)];
        add_unlisted(&mut list, &[open(THERE, 1)], &PortFilter::new(&[2948]));
        assert_eq!(list, [listed(Some(THERE), 1), listed(None, 3)]);
    }

    #[test]
    fn adds_the_interface_and_whether_ipv4_is_accepted() {
        let mut list = vec![listed(Some(THERE), 1)];
        let bound = HeldSocket { family: 6, interface: 7, flags: flags::V6_ONLY, ..open(THERE, 1) };
        add_unlisted(&mut list, &[bound], &PortFilter::new(&[2948]));
        let [(_, entry)] = &list[..] else { panic!("{list:?}") };
        assert_eq!((entry.interface, entry.is_v6_only), (7, Some(true)));
    }

    #[test]
    fn leaves_out_a_port_that_is_no_longer_watched() {
        let mut list = Vec::new();
        add_unlisted(&mut list, &[open(HERE, 1)], &PortFilter::new(&[2949]));
        assert!(list.is_empty());
    }

    #[test]
    fn counts_a_process_as_one_holder() {
        let child = HeldSocket { tgid: 8, start_time_ns: 2, ..open(HERE, 1) };
        let holders = by_inode(&[open(HERE, 1), child, open(HERE, 1), open(HERE, 2)]);
        let key = |(pid, start_time_ns)| ProcessKey { pid, start_time_ns };
        let both = BTreeSet::from([key((7, 1)), key((8, 2))]);
        assert_eq!(holders, HashMap::from([(1, both), (2, BTreeSet::from([key((7, 1))]))]));
    }

    #[test]
    fn reads_peer_and_state_of_a_connection() {
        let mut record = open(HERE, 1);
        record.peer_address[15] = 1;
        let connection =
            HeldSocket { family: 6, protocol: 6, state: 1, peer_port: 57_614, ..record };
        let entry = entry(&connection).expect("a socket");
        assert_eq!(entry.peer, Some("[::1]:57614".parse().expect("an address")));
        assert_eq!(entry.tcp_state, Some(TcpState::Established));
        assert_eq!(entry.protocol, Protocol::Tcp);
    }
}
