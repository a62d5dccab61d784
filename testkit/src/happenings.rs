//! Things that happen to watched ports, once each. `port(0)` has a server, `port(1)` has no
//! listener, and what comes to `port(2)` is led elsewhere.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use super::{
    patience, sh,
    world::{HERE, Peer, THERE, port},
};

/// A listener on `port(0)`, until this is dropped.
pub struct Served(TcpListener);

impl Served {
    /// Binds it, so that another bind fails.
    pub fn start() -> Self {
        let served = Self(TcpListener::bind((HERE, port(0))).expect("bound"));
        assert!(TcpListener::bind((HERE, port(0))).is_err());
        served
    }

    /// A client comes, asks, and is answered.
    pub fn visit(&self, peer: &Peer) {
        let client = peer.start(|| {
            let mut client = TcpStream::connect((HERE, port(0))).expect("connected");
            client.write_all(b"GET / HTTP/1.1\r\nHost: ghost\r\n\r\n").expect("asked");
            let mut answer = [0; 2];
            client.read_exact(&mut answer).expect("an answer");
        });
        let (mut connection, _) = self.0.accept().expect("accepted");
        connection.write_all(b"hi").expect("answered");
        client.recv().expect("the client");
    }
}

/// A connection attempt to a port without a listener.
pub fn probe(peer: &Peer) {
    peer.run(|| {
        let address = SocketAddr::from((HERE, port(1)));
        assert!(TcpStream::connect_timeout(&address, patience()).is_err());
    });
}

/// A port to which this host sends and that nothing else uses here: the state of a port is the
/// highest that holds, and a bind would hide `outbound`.
pub const ELSEWHERE: u16 = 2948;

/// This host sends a datagram to [`ELSEWHERE`] of the peer.
pub fn talk_elsewhere() {
    let outbound = UdpSocket::bind((HERE, 0)).expect("bound");
    outbound.send_to(b"hello", (THERE, ELSEWHERE)).expect("sent");
}

/// Binds the port without a listener, and closes the socket.
pub fn bind_in_passing() {
    drop(UdpSocket::bind((HERE, port(1))).expect("bound"));
}

/// A datagram in two fragments, of which the second has no port.
pub fn send_fragments(peer: &Peer) {
    peer.run(|| {
        let sender = UdpSocket::bind((THERE, 0)).expect("bound");
        sender.send_to(&[0; 2000], (HERE, port(1))).expect("sent");
    });
}

/// A client of `port(2)` is answered by a server of another port, to which a rule redirects it: no
/// socket holds the port.
pub fn answer_by_redirection(peer: &Peer) {
    let server = TcpListener::bind((HERE, port(8))).expect("bound");
    sh("nft add table ip gp");
    sh("nft add chain ip gp pre { type nat hook prerouting priority dstnat; }");
    sh(&format!("nft add rule ip gp pre tcp dport {} redirect to :{}", port(2), port(8)));
    let client = peer.start(|| {
        let mut client = TcpStream::connect((HERE, port(2))).expect("connected");
        client.read_exact(&mut [0; 2]).expect("an answer");
    });
    server.accept().expect("accepted").0.write_all(b"hi").expect("answered");
    client.recv().expect("the client");
}
