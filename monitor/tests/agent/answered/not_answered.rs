//! Packets that a socket answers, or the kernel by itself, or nothing.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrV4, bind, listen, sockopt::set_socket_reuseport};
use testkit::{
    agent::Agent,
    calls::tcp,
    eventually,
    world::{HERE, Peer, THERE, in_world},
};

use super::support::{Background, ask, assert_not_answered, config, connect, serve, view, watched};

fn is_refused(peer: &Peer) -> bool {
    peer.run(|| TcpStream::connect((HERE, watched())).is_err())
}

#[test]
fn a_reset_and_an_unreachable_port_are_no_answers() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        assert!(is_refused(&peer));
        assert!(!ask(&peer, watched(), Duration::from_secs(1)));
        assert_not_answered(&agent, "probed");
    });
}

#[test]
fn a_listener_answers_itself() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        let _server = serve(TcpListener::bind((HERE, watched())).expect("bound"));
        let _connection = connect(&peer, watched());
        assert_not_answered(&agent, "served");
    });
}

/// A listener that shares its port.
fn sharing_listener() -> OwnedFd {
    let socket = tcp(AddressFamily::INET);
    set_socket_reuseport(&socket, true).expect("an option");
    bind(&socket, &SocketAddrV4::new(HERE, watched())).expect("bound");
    listen(&socket, 8).expect("a listener");
    socket
}

#[test]
fn listeners_that_share_a_port_answer_themselves() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        let [first, second] = [sharing_listener(), sharing_listener()];
        let clients: Vec<TcpStream> = (0..8)
            .map(|_| peer.run(|| TcpStream::connect((HERE, watched())).expect("connected")))
            .collect();
        // One of them remains.
        drop(first);
        let _ = peer.run(|| TcpStream::connect((HERE, watched())));
        assert_not_answered(&agent, "served");
        drop((clients, second));
    });
}

#[test]
fn a_listener_that_was_just_closed_explains_its_connections() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        let listener = TcpListener::bind((HERE, watched())).expect("bound");
        let client = peer.run(|| TcpStream::connect((HERE, watched())).expect("connected"));
        let (mut connection, _) = listener.accept().expect("accepted");
        drop(listener);
        let writing = Background::repeat(move || {
            connection.write_all(b"hi").expect("written");
            thread::sleep(Duration::from_millis(100));
        });
        assert_not_answered(&agent, "served");
        // This end closes first, and stays in TIME_WAIT.
        drop(writing);
        drop(client);
        // The next scan finds that the connection is gone.
        eventually("probes", || {
            assert!(is_refused(&peer));
            (view(&agent)["state"] == "probed").then_some(())
        });
        assert_not_answered(&agent, "probed");
    });
}

#[test]
fn a_socket_in_another_namespace_answers_for_itself() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        let _server = peer.run(|| serve(TcpListener::bind((THERE, watched())).expect("bound")));
        let _connection = TcpStream::connect((THERE, watched())).expect("connected");
        eventually("the connection", || {
            let metrics = agent.metrics();
            metrics.has("ghostport_packets_total", &[("side", "remote")]).then_some(())
        });
        assert_not_answered(&agent, "bound");
    });
}

#[test]
fn a_client_that_has_the_watched_port_is_no_server() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8443)).expect("bound");
        let _server = serve(listener);
        let _connection = peer.run(|| {
            let socket = tcp(AddressFamily::INET);
            bind(&socket, &SocketAddrV4::new(THERE, watched())).expect("bound");
            rustix::net::connect(&socket, &SocketAddrV4::new(HERE, 8443)).expect("connected");
            socket
        });
        assert_not_answered(&agent, "bound");
    });
}
