//! Local, remote or in transit: forwarded, redirected, begun here or there.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::ffi::OsStrExt as _,
    process::Command,
    thread,
    time::Duration,
};

use monitor_kernel::{
    Kernel, Options,
    hooks::{Hook, HookMechanism},
    interfaces::{Interface, Link},
    local_addresses::LocalAddresses,
};
use rustix::net::{AddressFamily, sockopt::set_socket_linger};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport},
    calls::tcp,
    eventually, sh,
    wire::{Wire, index_of},
    world::{HERE, Peer, THERE, in_world, netns_inode},
};

use super::support::{
    FAR, await_awakening, await_packets, await_state, datagram, let_the_ledger_read, packets,
    router, state, unwatched, watched,
};

#[test]
fn forwarded_packets_are_in_transit() {
    in_world(|world| {
        let (near, far, agent) = router(world);
        let server = far.run(|| UdpSocket::bind((FAR, watched())).expect("bound"));
        near.run(move || {
            let client = UdpSocket::bind((THERE, 0)).expect("bound");
            client.send_to(b"ping", (FAR, watched())).expect("sent");
            let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
            server.send_to(b"pong", from).expect("sent");
            client.recv_from(&mut [0; 8]).expect("an answer");
        });
        // Each of the two datagrams comes in and goes out.
        await_packets(&agent, "udp", "transit", 4);
        let server = far.run(|| TcpListener::bind((FAR, watched())).expect("bound"));
        near.run(move || {
            let mut client = TcpStream::connect((FAR, watched())).expect("connected");
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
            let (mut connection, _) = server.accept().expect("accepted");
            connection.read_exact(&mut [0; 16]).expect("a question");
        });
        await_packets(&agent, "tcp", "transit", 8);
        let_the_ledger_read();
        for protocol in ["tcp", "udp"] {
            for side in ["local", "remote"] {
                assert_eq!(packets(&agent, protocol, side), 0, "{protocol} {side}");
            }
        }
        assert_eq!(agent.count_events("identified"), 0);
    });
}

#[test]
fn a_redirected_packet_is_for_the_address_it_came_to() {
    in_world(|world| {
        let (near, _far, agent) = router(world);
        let rule = |protocol| {
            format!(
                "add rule ip gp pre {protocol} dport {} redirect to :{}",
                watched(),
                unwatched()
            )
        };
        sh("nft add table ip gp");
        sh("nft add chain ip gp pre { type nat hook prerouting priority dstnat; }");
        for protocol in ["tcp", "udp"] {
            sh(&format!("nft {}", rule(protocol)));
        }
        let server = TcpListener::bind((HERE, unwatched())).expect("bound");
        let accepting = thread::spawn(move || {
            server.accept().expect("accepted").0.write_all(b"hello").expect("sent");
        });
        near.run(|| {
            let mut client = TcpStream::connect((HERE, watched())).expect("connected");
            client.read_exact(&mut [0; 5]).expect("an answer");
        });
        accepting.join().expect("served");
        let server = UdpSocket::bind((HERE, unwatched())).expect("bound");
        near.run(move || {
            let client = UdpSocket::bind((THERE, 0)).expect("bound");
            client.send_to(b"ping", (HERE, watched())).expect("sent");
            let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
            server.send_to(b"pong", from).expect("sent");
            client.recv_from(&mut [0; 8]).expect("an answer");
        });
        await_packets(&agent, "udp", "local", 2);
        await_packets(&agent, "tcp", "local", 6);
        for protocol in ["tcp", "udp"] {
            for side in ["remote", "transit"] {
                assert_eq!(packets(&agent, protocol, side), 0, "{protocol} {side}");
            }
        }
    });
}

#[test]
fn a_client_whose_own_port_is_watched_leaves_it_quiet() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let server = TcpListener::bind((HERE, unwatched())).expect("bound");
        let datagrams = UdpSocket::bind((HERE, unwatched())).expect("bound");
        let accepting = thread::spawn(move || {
            server.accept().expect("accepted").0.write_all(b"hello").expect("sent");
            let (_, from) = datagrams.recv_from(&mut [0; 8]).expect("a question");
            datagrams.send_to(b"pong", from).expect("sent");
        });
        peer.run(|| {
            let mut client = connect_from(watched(), (HERE, unwatched()).into());
            client.read_exact(&mut [0; 5]).expect("an answer");
            let client = UdpSocket::bind((THERE, watched())).expect("bound");
            client.send_to(b"ping", (HERE, unwatched())).expect("sent");
            client.recv_from(&mut [0; 8]).expect("an answer");
        });
        accepting.join().expect("served");
        await_packets(&agent, "tcp", "remote", 6);
        await_packets(&agent, "udp", "remote", 2);
        let_the_ledger_read();
        assert_eq!(state(&agent), "quiet");
        assert_eq!(packets(&agent, "tcp", "local") + packets(&agent, "udp", "local"), 0);
    });
}

/// What the metrics have of identified payloads and of sources of the watched port.
fn identified_and_sources(agent: &Agent) -> (u64, u64) {
    let metrics = agent.metrics();
    let port = watched().to_string();
    let sum = |name| metrics.sum(name, &[("port", &*port)]);
    (sum("ghostport_payloads_identified_total"), sum("ghostport_sources"))
}

/// What `check --json` says of the port: the exit code, and its sockets in this thread's namespace.
fn check() -> (Option<i32>, Vec<Value>) {
    let output = finish(ghostport().args(["check", &watched().to_string(), "--json"]));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sockets = document["ports"][0]["sockets"].as_array().cloned().unwrap_or_default();
    let is_here = |socket: &Value| socket["netns_inode"] == netns_inode();
    (output.status.code(), sockets.into_iter().filter(is_here).collect())
}

#[test]
fn a_client_whose_own_port_is_watched_is_not_attributed_to_it() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        // Sampling begins with the first reading.
        let_the_ledger_read();
        let server = TcpListener::bind((HERE, unwatched())).expect("bound");
        let datagrams = UdpSocket::bind((HERE, unwatched())).expect("bound");
        let client = peer.run(|| {
            let mut client = connect_from(watched(), (HERE, unwatched()).into());
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            client
        });
        let mut accepted = server.accept().expect("accepted").0;
        accepted.read_exact(&mut [0; 27]).expect("a request");
        accepted.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
        peer.run(|| {
            let client = UdpSocket::bind((THERE, watched())).expect("bound");
            client.send_to(b"M-SEARCH * HTTP/1.1\r\n\r\n", (HERE, unwatched())).expect("sent");
        });
        let (_, from) = datagrams.recv_from(&mut [0; 64]).expect("a question");
        datagrams.send_to(b"HTTP/1.1 200 OK\r\n\r\n", from).expect("sent");
        await_packets(&agent, "tcp", "remote", 5);
        await_packets(&agent, "udp", "remote", 2);
        let_the_ledger_read();
        assert_eq!(identified_and_sources(&agent), (0, 0), "{}", agent.metrics().text);
        assert_eq!(agent.count_events("identified"), 0, "{:#?}", agent.events());

        let (_, sockets) = check();
        let [socket] = &*sockets else { panic!("{sockets:#?}") };
        assert_eq!((&socket["side"], &socket["began"]), (&"remote".into(), &"peer".into()));
        // The client goes without a word, so that its end of the connection is here alone.
        peer.run(move || {
            sh("ip link set peer0 down");
            set_socket_linger(&client, Some(Duration::ZERO)).expect("an option");
            drop(client);
        });
        // The agent learns of the end of the client's socket a moment later.
        let sockets = eventually("a quiet port", || {
            let (code, sockets) = check();
            (code == Some(0)).then_some(sockets)
        });
        assert_eq!(sockets.len(), 1, "{sockets:#?}");
        // Without the listener it is not known who began it.
        drop(server);
        let (code, sockets) = check();
        assert_eq!((code, sockets[0].get("began")), (Some(1), None), "{sockets:#?}");
    });
}

#[test]
fn what_this_host_says_to_a_watched_port_elsewhere_is_identified() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let_the_ledger_read();
        let (server, datagrams) = peer.run(|| {
            let server = TcpListener::bind((THERE, watched())).expect("bound");
            (server, UdpSocket::bind((THERE, watched())).expect("bound"))
        });
        let mut client = TcpStream::connect((THERE, watched())).expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let client_of_datagrams = UdpSocket::bind((HERE, 0)).expect("bound");
        client_of_datagrams
            .send_to(b"M-SEARCH * HTTP/1.1\r\n\r\n", (THERE, watched()))
            .expect("sent");
        let identified = eventually("both requests", || {
            let mut events = agent.events();
            events.retain(|event| event["event.name"] == "ghostport.identified");
            (events.len() >= 2).then_some(events)
        });
        for event in &identified {
            assert_eq!(event["network.peer.port"], watched(), "{event:#}");
        }
        assert!(identified_and_sources(&agent) >= (2, 2), "{}", agent.metrics().text);
        drop((server, datagrams));
    });
}

#[test]
fn a_datagram_that_this_host_sends_elsewhere_is_outbound() {
    in_world(|world| {
        let _peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let_the_ledger_read();
        let client = UdpSocket::bind((HERE, 0)).expect("bound");
        client.send_to(b"ping", (THERE, watched())).expect("sent");
        await_packets(&agent, "udp", "remote", 1);
        await_state(&agent, "outbound");
        await_awakening(&agent);
    });
}

/// The kernel asks no name of an interface to be UTF-8, and lists it beside addresses and groups.
#[test]
fn addresses_of_an_interface_are_local_whatever_its_name() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let name = OsStr::from_bytes(b"br\xff");
        let ip = |before: &str, after: &str| {
            let mut command = Command::new("ip");
            command.args(before.split(' ')).arg(name).args(after.split_ascii_whitespace());
            assert!(command.status().expect("ip").success(), "{before}");
        };
        ip("link add name", "type veth peer name other");
        ip("link set dev", "up");
        ip("address add 10.9.7.8/24 dev", "");
        // One of another interface.
        sh("ip address add 10.9.7.9/32 dev gp0");
        for address in [[10, 9, 7, 8], [10, 9, 7, 9]] {
            let frame = datagram((THERE, 4000), (address.into(), watched()));
            eventually(&format!("{address:?} is local"), || {
                let before = packets(&agent, "udp", "local");
                let frame = frame.clone();
                peer.run(move || Wire::open("peer0").send(&frame));
                thread::sleep(Duration::from_millis(20));
                (packets(&agent, "udp", "local") > before).then_some(())
            });
        }
    });
}

#[test]
fn addresses_come_and_go() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let to = |address: [u8; 4]| {
            let frame = datagram((THERE, 4000), (address.into(), watched()));
            peer.run(move || Wire::open("peer0").send(&frame));
        };
        let is_counted = |address: [u8; 4], side: &str| {
            let before = packets(&agent, "udp", side);
            to(address);
            thread::sleep(Duration::from_millis(20));
            packets(&agent, "udp", side) > before
        };
        // The addresses are in force some time after they are configured.
        let is_soon = |address: [u8; 4], side: &str| {
            eventually(&format!("{address:?} is {side}"), || {
                is_counted(address, side).then_some(())
            });
        };
        is_soon([10, 9, 0, 1], "local");
        is_soon([10, 9, 0, 255], "local");
        is_soon([255, 255, 255, 255], "local");
        is_soon([10, 9, 7, 7], "transit");
        is_soon([239, 1, 2, 3], "transit");

        sh("ip address add 10.9.7.7/32 dev gp0");
        is_soon([10, 9, 7, 7], "local");
        sh("ip address del 10.9.7.7/32 dev gp0");
        is_soon([10, 9, 7, 7], "transit");

        sh("ip address add 10.9.8.1 peer 10.9.8.2 dev gp0");
        is_soon([10, 9, 8, 1], "local");
        is_soon([10, 9, 8, 2], "transit");

        is_soon([10, 66, 1, 2], "transit");
        sh("ip route add local 10.66.0.0/16 dev lo");
        is_soon([10, 66, 1, 2], "local");
        is_soon([10, 67, 1, 2], "transit");
        sh("ip route del local 10.66.0.0/16 dev lo");
        is_soon([10, 66, 1, 2], "transit");

        let group = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
        group.join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &HERE).expect("joined");
        is_soon([239, 1, 2, 3], "local");
        drop(group);
        is_soon([239, 1, 2, 3], "transit");

        // More than the tables hold.
        for batch in 0..8 {
            let addresses =
                (0..250).map(|host| format!("address add 10.77.{batch}.{host}/32 dev lo"));
            let file = world.path("addresses");
            fs::write(&file, addresses.collect::<Vec<_>>().join("\n")).expect("written");
            sh(&format!("ip -batch {}", file.display()));
        }
        for batch in 0..8 {
            for host in [0, 7, 99, 249] {
                is_soon([10, 77, batch, host], "local");
            }
        }
        is_soon([10, 77, 8, 1], "transit");
        is_soon([10, 9, 0, 1], "local");
    });
}

/// A packet with an address of this host as its source that arrives, and one for this host that
/// leaves.
#[test]
fn a_packet_that_goes_the_other_way_keeps_its_sides() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let arrives = datagram((HERE, watched()), (Ipv4Addr::new(10, 1, 1, 1), 4000));
        peer.run(move || Wire::open("peer0").send(&arrives));
        await_packets(&agent, "udp", "local", 1);
        let leaves = datagram((Ipv4Addr::new(10, 1, 1, 1), watched()), (HERE, 4000));
        Wire::open("gp0").send(&leaves);
        await_packets(&agent, "udp", "remote", 1);
        assert_eq!(packets(&agent, "udp", "transit"), 0);
    });
}

#[test]
fn an_agent_without_news_keeps_what_an_earlier_one_knew() {
    in_world(|world| {
        let (near, _far, agent) = router(world);
        agent.kill9();
        let frame = datagram((THERE, 4000), (FAR, watched()));
        near.run(move || Wire::open("peer0").send(&frame));
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0", "gp1"]));
        await_packets(&agent, "udp", "transit", 1);
        let address = SocketAddr::from((HERE, watched()));
        near.run(move || {
            UdpSocket::bind((THERE, 0)).expect("bound").send_to(b"ping", address).expect("sent");
        });
        await_packets(&agent, "udp", "local", 1);
    });
}

/// Each flow and connection once, and none that the peer began.
#[test]
fn counts_who_accepted_and_who_began() {
    in_world(|world| {
        let peer = world.peer();
        // The tables of a map are read by value.
        let body = || count_who_began(&peer);
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(16 << 20);
            thread.spawn_scoped(scope, body).expect("spawned").join().expect("counted");
        });
    });
}

fn count_who_began(peer: &Peer) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _guard = runtime.enter();
    let (mut kernel, _streams) = Kernel::start(Options::TRIAL).expect("started");
    kernel.watch(&[watched()].into()).expect("watched");
    let local = LocalAddresses { addresses: [HERE.into()].into(), ..LocalAddresses::default() };
    kernel.set_local_addresses(&local).expect("set");
    let interface = Interface::new(index_of("gp0"), "gp0", 1500, Link::Veth);
    for (hook, mechanism) in
        [(Hook::Ingress, HookMechanism::XdpNative), (Hook::Egress, HookMechanism::Clsact)]
    {
        kernel.attach_by(hook, mechanism, &interface).expect("attached");
    }
    let counters = |kernel: &Kernel| {
        let snapshot = kernel.port_counters();
        snapshot.traffic.first().expect("a row").counters
    };

    let server = TcpListener::bind((HERE, watched())).expect("bound");
    peer.run(|| TcpStream::connect((HERE, watched())).expect("connected"));
    server.accept().expect("accepted");
    assert_eq!(counters(&kernel).accepted, 1);
    assert_eq!(counters(&kernel).begun_datagrams, 0);

    // The peer's port is watched, and the peer begins.
    let server = UdpSocket::bind((HERE, unwatched())).expect("bound");
    let client = peer.run(|| {
        let client = UdpSocket::bind((THERE, watched())).expect("bound");
        client.send_to(b"ping", (HERE, unwatched())).expect("sent");
        client
    });
    let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
    server.send_to(b"pong", from).expect("sent");
    assert_eq!(counters(&kernel).begun_datagrams, 0);

    // This host begins, twice.
    for _ in 0..2 {
        let socket = UdpSocket::bind((HERE, 0)).expect("bound");
        for _ in 0..3 {
            socket.send_to(b"ping", (THERE, watched())).expect("sent");
        }
        client.recv_from(&mut [0; 8]).expect("an answer or a question");
    }
    assert_eq!(counters(&kernel).begun_datagrams, 2);
    assert_eq!(counters(&kernel).accepted, 1);
}

/// A connection to `address` from a port of the caller's choice.
fn connect_from(port: u16, address: SocketAddr) -> TcpStream {
    let socket = tcp(AddressFamily::INET);
    rustix::net::bind(&socket, &SocketAddr::from((THERE, port))).expect("bound");
    rustix::net::connect(&socket, &address).expect("connected");
    socket.into()
}
