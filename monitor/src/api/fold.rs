//! Connections that differ in a port alone, as one row with a count.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use monitor_common::flow::Side;

use super::socket::{Began, Socket};
use crate::sockets;

/// As many connections that a process has are listed one by one: their ports lead to the other end.
const MOST_LISTED: u64 = 4;

/// What connections in one row have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    transport: &'static str,
    state: Option<&'static str>,
    side: &'static str,
    local_address: IpAddr,
    peer_address: IpAddr,
    interface: Option<String>,
    netns_inode: Option<u32>,
    /// Process ids.
    holders: Option<Vec<u32>>,
    began: Option<Began>,
    expected: Option<bool>,
}

impl Key {
    /// `None` for a socket without a peer, which has a row of its own.
    fn of(socket: &Socket) -> Option<Self> {
        let holders = socket.holders.as_ref();
        Some(Self {
            transport: socket.transport.name(),
            state: socket.tcp_state.map(|state| state.name()),
            side: socket.side.name(),
            local_address: socket.local_address,
            peer_address: socket.peer_address?,
            interface: socket.interface.clone(),
            netns_inode: socket.netns_inode,
            holders: holders.map(|holders| holders.iter().map(|holder| holder.pid).collect()),
            began: socket.began,
            expected: socket.expected,
        })
    }

    /// Whether so many connections take one row.
    fn is_folded(&self, count: u64) -> bool {
        let is_held = self.holders.as_ref().is_none_or(|holders| !holders.is_empty());
        count > if is_held { MOST_LISTED } else { 1 }
    }
}

impl Socket {
    /// Converts sockets as a look found them, and folds them.
    pub fn list(sockets: &[sockets::Socket]) -> Vec<Self> {
        Self::folded(Self::each(sockets))
    }

    /// Folds connections of the same state, holders and peer into rows, in the order of the first
    /// socket of each. A row stands for `count` sockets and lacks the port in which they differ.
    pub fn folded(sockets: Vec<Self>) -> Vec<Self> {
        let mut counts = HashMap::<Key, u64>::new();
        for (socket, key) in sockets.iter().filter_map(|socket| Some((socket, Key::of(socket)?))) {
            *counts.entry(key).or_default() += socket.count;
        }
        let mut shown = HashSet::new();
        let row = |socket: Self| {
            let Some(key) = Key::of(&socket) else { return Some(socket) };
            let count = counts.get(&key).copied().unwrap_or(1);
            if !key.is_folded(count) {
                return Some(socket);
            }
            shown.insert(key).then(|| folded(socket, count))
        };
        sockets.into_iter().filter_map(row).collect()
    }
}

/// The row of `count` sockets, of which this is one.
fn folded(socket: Socket, count: u64) -> Socket {
    match socket.side {
        // The client's end has another port for each connection.
        Side::Local => Socket { peer_port: None, count, ..socket },
        Side::Remote | Side::Transit => Socket { local_port: None, count, ..socket },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        process::Identity,
        sockets::{Entry, TcpState, udp_socket},
    };

    fn connection(peer: [u8; 4], peer_port: u16, state: TcpState) -> sockets::Socket {
        let udp = udp_socket(2948);
        let peer = Some((peer, peer_port).into());
        sockets::Socket { entry: Entry { peer, tcp_state: Some(state), ..udp.entry }, ..udp }
    }

    fn rows(sockets: &[sockets::Socket]) -> Vec<(Option<IpAddr>, Option<u16>, u64)> {
        let row = |socket: Socket| (socket.peer_address, socket.peer_port, socket.count);
        Socket::list(sockets).into_iter().map(row).collect()
    }

    #[test]
    fn folds_what_no_process_holds_by_state_and_peer() {
        let waiting = |peer, port| connection([192, 0, 2, peer], port, TcpState::TimeWait);
        let closing = connection([192, 0, 2, 1], 9, TcpState::LastAck);
        let listener = udp_socket(2948);
        let sockets =
            [listener, waiting(1, 1), closing, waiting(2, 1), waiting(1, 2), waiting(1, 3)];
        let peer = |last| Some(IpAddr::from([192, 0, 2, last]));
        assert_eq!(
            rows(&sockets),
            [(None, None, 1), (peer(1), None, 3), (peer(1), Some(9), 1), (peer(2), Some(1), 1)]
        );
    }

    #[test]
    fn lists_few_connections_of_a_process_one_by_one() {
        let holder = Arc::new(Identity { pid: 7, ..Identity::default() });
        let connections = |count: u16| -> Vec<sockets::Socket> {
            let connection = |port| connection([192, 0, 2, 1], port, TcpState::Established);
            let held =
                |port| sockets::Socket { holders: vec![Arc::clone(&holder)], ..connection(port) };
            (1..=count).map(held).collect()
        };
        assert_eq!(rows(&connections(4)).len(), 4);
        let folded = rows(&connections(5));
        assert_eq!(folded, [(Some([192, 0, 2, 1].into()), None, 5)]);
        let mut others = connections(5);
        others[0].holders = vec![Arc::new(Identity { pid: 8, ..Identity::default() })];
        assert_eq!(rows(&others).len(), 5, "of two processes");
    }

    #[test]
    fn a_folded_row_of_clients_lacks_their_port() {
        let to = |local| {
            let mut socket = connection([192, 0, 2, 1], 2948, TcpState::TimeWait);
            (socket.side, socket.entry.local) = (Side::Remote, ([127, 0, 0, 1], local).into());
            socket
        };
        let [row] = &*Socket::list(&[to(1), to(2)]) else { panic!("several rows") };
        assert_eq!((row.local_port, row.peer_port, row.count), (None, Some(2948), 2));
        let json = serde_json::to_value(row).expect("JSON");
        assert_eq!((json.get("local_port"), &json["count"]), (None, &2.into()));
    }
}
