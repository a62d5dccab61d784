//! UDP-Lite and SCTP: packets, sockets, states, and what their peers see of them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    thread,
};

use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketType, accept, bind, connect,
    listen, recv, recvfrom, send, sendto,
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport},
    calls::own_socket,
    eventually,
    wire::Wire,
    world::{HERE, Peer, THERE, in_world},
};

use super::support::{
    FAR, SCTP, UDP_LITE, assert_sides, await_awakening, await_state, awakenings, frame,
    let_the_ledger_read, packets, router, state, watched,
};

/// A socket of a protocol, which this kernel may lack.
fn open(kind: SocketType, protocol: u8) -> Option<OwnedFd> {
    let number = RawProtocol::new(protocol.into()).map(Protocol::from_raw);
    own_socket(AddressFamily::INET, kind, number).ok()
}

fn lite() -> Option<OwnedFd> {
    open(SocketType::DGRAM, UDP_LITE)
}

fn bound_to(socket: OwnedFd, address: Ipv4Addr, port: u16) -> OwnedFd {
    bind(&socket, &SocketAddr::from((address, port))).expect("bound");
    socket
}

/// Whether there is any series of the protocol.
fn has_series(agent: &Agent, protocol: &str) -> bool {
    let labels = [("protocol", protocol)];
    let names = agent.metrics().series.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
    names.iter().any(|name| agent.metrics().has(name, &labels))
}

fn count(agent: &Agent, metric: &str, protocol: &str) -> u64 {
    let labels = [("port", &*watched().to_string()), ("protocol", protocol)];
    agent.metrics().sum(metric, &labels)
}

/// What `check` says of the sockets of a protocol on the watched port.
fn checked(protocol: &str) -> Vec<Value> {
    let output = finish(ghostport().args(["check", "--json", &watched().to_string()]));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sockets = document["ports"][0]["sockets"].as_array().expect("sockets").clone();
    sockets.into_iter().filter(|socket| socket["transport"] == protocol).collect()
}

/// The watched port as the API shows it.
fn shown(agent: &Agent) -> Value {
    let api: Value = serde_json::from_str(&agent.get("/api/v1/ports").body).expect("JSON");
    let ports = api["ports"].as_array().expect("ports");
    ports.iter().find(|each| each["port"] == watched()).expect("the port").clone()
}

#[test]
fn packets_of_rare_protocols_have_sides() {
    in_world(|world| {
        let (near, _far, agent) = router(world);
        for (number, name) in [(UDP_LITE, "udplite"), (SCTP, "sctp")] {
            assert!(!has_series(&agent, name), "{name} before its first packet");
            let port = watched();
            let send = |from: (IpAddr, u16), to: (IpAddr, u16)| {
                let rest: &[u8] = &[0; 16];
                let frame = frame(number, from.into(), to.into(), rest);
                near.run(move || Wire::open("peer0").send(&frame));
            };
            let (here, there) = (IpAddr::from(HERE), IpAddr::from(THERE));
            send((there, 4000), (here, port));
            assert_sides(&agent, name, [0; 3], [1, 0, 0]);
            await_state(&agent, "probed");
            // From a watched port elsewhere, which is not outbound use.
            send((there, port), (here, 4000));
            assert_sides(&agent, name, [0; 3], [1, 1, 0]);
            // A frame for everybody is not forwarded.
            send((there, 4000), (FAR.into(), port));
            assert_sides(&agent, name, [0; 3], [1, 1, 1]);
            // Both ends are watched: each is a series of its own.
            send((there, port), (here, port));
            assert_sides(&agent, name, [0; 3], [2, 2, 1]);
            eventually("the time of the last packet", || {
                let metric = "ghostport_last_packet_timestamp_seconds";
                agent.metrics().has(metric, &[("protocol", name)]).then_some(())
            });
        }
        let bytes = count(&agent, "ghostport_bytes_total", "udplite");
        // Five ends of packets of 54 bytes.
        assert_eq!(bytes, 5 * 54);
        for protocol in ["tcp", "udp"] {
            assert_eq!(packets(&agent, protocol, "local"), 0, "{protocol}");
        }
    });
}

#[test]
fn a_udplite_server_is_bound_and_served() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let Some(server) = lite() else { return eprintln!("skipped: no UDP-Lite here") };
        let server = bound_to(server, HERE, watched());
        await_state(&agent, "bound");
        assert_eq!(count(&agent, "ghostport_bound_sockets", "udplite"), 1);
        let sockets = checked("udplite");
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        assert_eq!(sockets[0]["local_address"], HERE.to_string());
        assert_eq!(sockets[0]["holders"][0]["pid"], std::process::id());
        assert_eq!(sockets[0]["scope"], "world");
        peer.run(|| {
            let client = bound_to(lite().expect("as here"), THERE, 0);
            connect(&client, &SocketAddr::from((HERE, watched()))).expect("connected");
            send(&client, b"ping", SendFlags::empty()).expect("sent");
        });
        let (_, _, from) = recvfrom(&server, &mut [0; 8], RecvFlags::empty()).expect("a question");
        let from: SocketAddr = from.expect("an address").try_into().expect("an IP address");
        sendto(&server, b"pong", SendFlags::empty(), &from).expect("sent");
        assert_sides(&agent, "udplite", [0; 3], [2, 0, 0]);
        await_state(&agent, "served");
        drop(server);
        eventually("a close", || {
            (count(&agent, "ghostport_closes_total", "udplite") == 1).then_some(())
        });
        // The kernel has counted the close; the ledger learns of it with the record.
        let port = eventually("no bound socket", || {
            let port = shown(&agent);
            (port["bound_sockets"]["udplite"] == 0).then_some(port)
        });
        assert_eq!(port["bound_sockets"].get("sctp"), None);
    });
}

#[test]
fn a_udplite_flow_that_this_host_begins_is_outbound() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let Some(client) = lite() else { return eprintln!("skipped: no UDP-Lite here") };
        // The peer begins, from a watched port of its own.
        let wire = frame(
            UDP_LITE,
            (THERE, watched()).into(),
            (HERE, 4000).into(),
            &[0, 8, 0, 0, b'p', b'i', b'n', b'g'],
        );
        peer.run(move || Wire::open("peer0").send(&wire));
        assert_sides(&agent, "udplite", [0; 3], [0, 1, 0]);
        let_the_ledger_read();
        assert_eq!((state(&agent), awakenings(&agent)), ("quiet".to_owned(), 0));
        let client = bound_to(client, HERE, 0);
        let to = SocketAddr::from((THERE, watched()));
        sendto(&client, b"ping", SendFlags::empty(), &to).expect("sent");
        await_state(&agent, "outbound");
        await_awakening(&agent);
    });
}

/// One-to-one SCTP sockets, as TCP has them.
fn stream() -> Option<OwnedFd> {
    open(SocketType::STREAM, SCTP)
}

fn sctp_client(peer: &Peer) {
    peer.run(|| {
        let client = bound_to(stream().expect("as here"), THERE, 0);
        connect(&client, &SocketAddr::from((HERE, watched()))).expect("connected");
        send(&client, b"ping", SendFlags::empty()).expect("sent");
        recv(&client, &mut [0; 8], RecvFlags::empty()).expect("an answer");
    });
}

#[test]
fn an_sctp_server_listens_and_serves() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let Some(server) = stream() else { return eprintln!("skipped: no SCTP here") };
        let server = bound_to(server, HERE, watched());
        listen(&server, 1).expect("listening");
        eventually("a listen", || {
            let labels = [("port", &*watched().to_string())];
            (agent.metrics().sum("ghostport_listens_total", &labels) == 1).then_some(())
        });
        let sockets = checked("sctp");
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        assert_eq!(sockets[0]["tcp_state"], "listen");
        assert_eq!(sockets[0]["holders"][0]["pid"], std::process::id());
        let serving = thread::spawn(move || {
            let connection = accept(&server).expect("accepted");
            recv(&connection, &mut [0; 8], RecvFlags::empty()).expect("a question");
            send(&connection, b"pong", SendFlags::empty()).expect("sent");
            (server, connection)
        });
        sctp_client(&peer);
        let (server, connection) = serving.join().expect("served");
        await_state(&agent, "served");
        assert_eq!(count(&agent, "ghostport_answers_without_socket_total", "sctp"), 0);
        assert!(packets(&agent, "sctp", "local") >= 6);
        assert_eq!(packets(&agent, "sctp", "remote") + packets(&agent, "sctp", "transit"), 0);
        drop((connection, server));
        eventually("a close", || {
            (count(&agent, "ghostport_closes_total", "sctp") == 1).then_some(())
        });
    });
}

/// An SCTP packet whose first chunk is of a type: INIT begins an association, INIT ACK accepts it.
fn sctp_packet(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), chunk: u8) -> Vec<u8> {
    let mut rest = vec![0; 8];
    rest.extend([chunk, 0, 0, 20]);
    rest.extend([0; 16]);
    frame(SCTP, source.into(), destination.into(), &rest)
}

#[test]
fn the_first_chunk_of_sctp_says_who_began() {
    const DATA: u8 = 0;
    const INIT: u8 = 1;
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let wire = Wire::open("gp0");
        // An association that is older than the agent.
        wire.send(&sctp_packet((HERE, 4000), (THERE, watched()), DATA));
        let begins = sctp_packet((THERE, watched()), (HERE, 4000), INIT);
        peer.run(move || Wire::open("peer0").send(&begins));
        assert_sides(&agent, "sctp", [0; 3], [0, 2, 0]);
        let_the_ledger_read();
        assert_eq!((state(&agent), awakenings(&agent)), ("quiet".to_owned(), 0));
        wire.send(&sctp_packet((HERE, 4000), (THERE, watched()), INIT));
        await_state(&agent, "outbound");
        await_awakening(&agent);
    });
}

/// The peer's kernel refuses. A server there would be a holder: socket hooks see every namespace.
#[test]
fn an_sctp_association_that_this_host_begins_is_outbound() {
    in_world(|world| {
        let _peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let Some(client) = stream() else { return eprintln!("skipped: no SCTP here") };
        let client = bound_to(client, HERE, 0);
        connect(&client, &SocketAddr::from((THERE, watched()))).expect_err("refused");
        await_state(&agent, "outbound");
        assert_eq!(packets(&agent, "sctp", "local"), 0);
    });
}

/// With the protocol loaded, the kernel refuses by an answer of its own, which is none.
#[test]
fn an_abort_is_no_answer_without_a_socket() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        if stream().is_none() {
            return eprintln!("skipped: no SCTP here");
        }
        peer.run(|| {
            let client = bound_to(stream().expect("as here"), THERE, 0);
            connect(&client, &SocketAddr::from((HERE, watched()))).expect_err("refused");
        });
        await_state(&agent, "probed");
        let_the_ledger_read();
        assert_eq!(state(&agent), "probed");
    });
}
