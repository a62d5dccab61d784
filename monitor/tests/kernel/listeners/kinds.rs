//! What is a listener, and what is none, by every mechanism.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use rustix::{
    io::Errno,
    net::{AddressFamily, bind, connect, getsockname, listen},
};
use testkit::{
    calls::{MECHANISMS, at, tcp, udp, v4},
    metrics::since,
    world::{Peer, in_world, port},
};

use super::support::{Change, Listeners, closed, opened};

fn by_every_mechanism(watch: &str, test: fn(&mut Listeners)) {
    for mechanism in MECHANISMS {
        in_world(|world| match Listeners::start(world, mechanism, watch) {
            Ok(mut listeners) => test(&mut listeners),
            Err(why) => eprintln!("{mechanism}: skipped: {why}"),
        });
    }
}

fn life(protocol: &str, local: SocketAddr) -> [Change; 2] {
    [opened(protocol, local), closed(protocol, local)]
}

#[test]
fn listeners_on_every_port_are_reported() {
    by_every_mechanism("all", |listeners| {
        for local in [v4(port(1)), at("::1", port(2)), at("0.0.0.0", port(3)), at("::", port(4))] {
            drop(TcpListener::bind(local).expect("bound"));
            listeners.saw("a TCP listener", &life("tcp", local));
            drop(UdpSocket::bind(local).expect("bound"));
            listeners.saw("a UDP socket", &life("udp", local));
        }
        let local = v4(port(5));
        let one = TcpListener::bind(local).expect("bound");
        let another = one.try_clone().expect("cloned");
        drop(one);
        listeners.saw("a listener with two descriptors", &[opened("tcp", local)]);
        drop(another);
        listeners.saw("its last close", &[closed("tcp", local)]);
        let peer = Peer::alone();
        peer.run(move || drop(TcpListener::bind(local).expect("bound")));
        listeners.saw("another network namespace", &life("tcp", local));
    });
}

#[test]
fn clients_are_no_listeners() {
    by_every_mechanism("all", |listeners| {
        let before = listeners.agent.metrics().sockets(&[port(1), port(2)]);
        let server = TcpListener::bind(v4(port(1))).expect("bound");
        listeners.saw("a server", &[opened("tcp", v4(port(1)))]);
        let client = TcpStream::connect(v4(port(1))).expect("connected");
        let (accepted, _) = server.accept().expect("accepted");
        drop((client, accepted));
        let chosen = tcp(AddressFamily::INET);
        bind(&chosen, &v4(port(2))).expect("bound");
        connect(&chosen, &v4(port(1))).expect("connected");
        drop(chosen);
        listeners.saw("TCP clients", &[]);
        drop(UdpSocket::bind("127.0.0.1:0").expect("bound"));
        let sender = udp(AddressFamily::INET);
        connect(&sender, &v4(port(9))).expect("connected");
        drop(sender);
        listeners.saw("UDP clients", &[]);
        let taken = UdpSocket::bind(v4(port(4))).expect("bound");
        listeners.saw("a UDP server", &[opened("udp", v4(port(4)))]);
        let client = udp(AddressFamily::INET);
        assert_eq!(bind(&client, &v4(port(4))), Err(Errno::ADDRINUSE));
        bind(&client, &v4(0)).expect("bound");
        drop(client);
        listeners.saw("a UDP client whose first bind was refused", &[]);
        drop(taken);
        listeners.saw("the end of a UDP server", &[closed("udp", v4(port(4)))]);
        let bound = tcp(AddressFamily::INET);
        bind(&bound, &v4(port(3))).expect("bound");
        drop(bound);
        listeners.saw("a TCP socket that never listens", &[]);
        let after = listeners.agent.metrics().sockets(&[port(1), port(2)]);
        assert!(since(&before, &after).is_empty(), "ports that are not watched are not counted");
        assert_eq!(listeners.agent.socket_events(), Vec::<serde_json::Value>::new());
    });
}

#[test]
fn a_listener_on_a_port_that_the_kernel_chose_is_reported() {
    by_every_mechanism("all", |listeners| {
        let socket = tcp(AddressFamily::INET);
        bind(&socket, &v4(0)).expect("bound");
        let local: SocketAddr = getsockname(&socket).expect("a name").try_into().expect("one");
        listen(&socket, 1).expect("listening");
        drop(socket);
        listeners.saw("bind to port 0, then listen", &life("tcp", local));
    });
}

#[test]
fn a_watched_port_has_its_events_and_its_listeners() {
    by_every_mechanism("all", |listeners| {
        let local = v4(Listeners::watched());
        drop(TcpListener::bind(local).expect("bound"));
        listeners.saw("a TCP listener", &life("tcp", local));
        drop(UdpSocket::bind(local).expect("bound"));
        listeners.saw("a UDP socket", &life("udp", local));
        let events = listeners.agent.socket_events();
        let expected = if listeners.sees_every_close() { 5 } else { 4 };
        assert_eq!(events.len(), expected, "{events:#?}");
    });
}

#[test]
fn listeners_on_other_ports_are_not_reported() {
    let watch = format!("[{}, {}-{}, {}]", port(1), port(5), port(6), port(98));
    by_every_mechanism(&watch, |listeners| {
        for offset in [1, 5, 6] {
            drop(TcpListener::bind(v4(port(offset))).expect("bound"));
            listeners.saw("a port of the list", &life("tcp", v4(port(offset))));
        }
        for offset in [0, 2, 4, 7] {
            drop(TcpListener::bind(v4(port(offset))).expect("bound"));
            drop(UdpSocket::bind(v4(port(offset))).expect("bound"));
        }
        listeners.saw("other ports", &[]);
    });
}

#[test]
fn many_clients_make_no_report_and_fill_no_ring() {
    const CLIENTS: usize = 10_000;
    in_world(|world| {
        let mut listeners = Listeners::start(world, "auto", "all").expect("an agent");
        let lost = |listeners: &Listeners| {
            listeners.agent.metrics().sum("ghostport_events_lost_total", &[])
        };
        let before = lost(&listeners);
        for _ in 0..CLIENTS {
            drop(UdpSocket::bind("127.0.0.1:0").expect("bound"));
        }
        assert_eq!(lost(&listeners), before);
        listeners.saw("UDP clients", &[]);
    });
}

#[test]
fn listeners_beyond_a_share_are_summed_up() {
    const LISTENERS: u16 = 2_000;
    in_world(|world| {
        let listeners = Listeners::start(world, "auto", "all").expect("an agent");
        for number in 0..LISTENERS {
            drop(UdpSocket::bind(("127.0.0.1", 2_000 + number)).expect("bound"));
        }
        let opens = |changes: &[Change]| -> (u64, usize) {
            let opens = changes.iter().filter(|change| change.is_open);
            (opens.clone().map(|change| change.count).sum(), opens.count())
        };
        let (listeners_opened, reports) = testkit::eventually("all of them", || {
            let found = opens(&listeners.reported());
            (found.0 >= LISTENERS.into()).then_some(found)
        });
        assert_eq!(listeners_opened, u64::from(LISTENERS));
        assert!(reports < usize::from(LISTENERS) / 2, "{reports} reports");
    });
}
