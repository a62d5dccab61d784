//! Calls and callers that take care.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::unix::process::parent_id,
    process::{self},
    thread,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, RawProtocol, SocketType, bind, listen},
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    calls::{Call, MECHANISMS, at, bound_life, listening_life, own_socket, tcp, v4},
    metrics::Counts,
    process::assert_born,
    uring,
    world::{in_world, port, set_sysctl},
};

use super::bench::{AUTOMATIC, Bench};

/// The start time of a process in an event is the kernel's own.
#[test]
fn reports_the_start_time_of_a_process() {
    in_world(|world| {
        let bench = Bench::start(world, "auto");
        let address = v4(port(0));
        drop(UdpSocket::bind(address).expect("bound"));
        thread::spawn(move || drop(UdpSocket::bind(address).expect("bound"))).join().expect("ok");
        let events = bench.agent.socket_events();
        let births: Vec<&str> =
            events.iter().filter_map(|event| event["process.creation.time"].as_str()).collect();
        assert!(births.len() >= 2 && births.len() == events.len(), "{births:?}");
        assert!(births.windows(2).all(|pair| pair[0] == pair[1]), "{births:?}");
        assert_born(births[0], process::id());
    });
}

/// With `process.command_line` off it is nowhere.
#[test]
fn omits_command_lines_when_configured() {
    in_world(|world| {
        let config = Config { command_line: "false", ..Config::new([port(0)]) };
        let agent = Agent::start(world, &config);
        drop(UdpSocket::bind(v4(port(0))).expect("bound"));
        let events = agent.socket_events();
        assert!(events.iter().all(|event| event["process.parent_pid"] == parent_id()));
        let text = serde_json::to_string(&events).expect("JSON");
        assert!(!events.is_empty() && !text.contains("command_args"), "{text}");
    });
}

/// A client that chose its port holds it until it closes, connected or not.
#[test]
fn reports_the_close_of_a_bound_client() {
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        let server = TcpListener::bind("127.0.0.1:9").expect("bound");
        let address = v4(port(0));
        let client = tcp(AddressFamily::INET);
        bind(&client, &address).expect("bound");
        rustix::net::connect(&client, &v4(9)).expect("connected");
        let (accepted, _) = server.accept().expect("accepted");
        drop(client);
        drop(accepted);
        bench.saw("a client", &bound_life("tcp", address));
    });
}

/// Sockets that get a watched port without a bind.
#[test]
fn ignores_the_automatic_port_of_a_client() {
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        let server = TcpListener::bind("127.0.0.1:9").expect("bound");
        let range = format!("{} {}", port(AUTOMATIC.start), port(AUTOMATIC.end - 1));
        set_sysctl("net/ipv4/ip_local_port_range", &range);
        let client = TcpStream::connect(v4(9)).expect("connected");
        let (accepted, _) = server.accept().expect("accepted");
        assert!(bench.ports.contains(&client.local_addr().expect("an address").port()));
        set_sysctl("net/ipv4/ip_local_port_range", "32768 60999");
        drop((client, accepted));
        bench.saw("a TCP client", &[]);
    });
}

/// A raw socket has the number of its protocol where others have their port.
#[test]
fn ignores_raw_sockets() {
    const UDP: u16 = 17;
    const TCP: u16 = 6;
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([TCP, UDP]));
        for number in [TCP, UDP] {
            let protocol = RawProtocol::new(number.into()).map(Protocol::from_raw);
            let raw = own_socket(AddressFamily::INET, SocketType::RAW, protocol).expect("a socket");
            bind(&raw, &v4(number)).expect("bound");
        }
        let events = agent.socket_events();
        assert_eq!(events, Vec::<Value>::new());
        assert_eq!(agent.metrics().sockets(&[TCP, UDP]), Counts::new());
    });
}

/// What many servers do without knowing: every listener of a Go program is one.
#[test]
fn reports_a_multipath_listener_once() {
    for mechanism in MECHANISMS {
        in_world(|world| {
            if let Ok(bench) = Bench::try_start(world, mechanism) {
                multipath_lives(bench, mechanism);
            }
        });
    }
}

fn multipath_lives(mut bench: Bench, mechanism: &str) {
    const MPTCP: u32 = 262;
    for address in [v4(port(0)), at("::1", port(1))] {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let open = || {
            let protocol = RawProtocol::new(MPTCP).map(Protocol::from_raw);
            own_socket(family, SocketType::STREAM, protocol)
        };
        let Ok(listener) = open() else {
            return eprintln!("skipped: this kernel has no MPTCP");
        };
        bind(&listener, &address).expect("bound");
        listen(&listener, 1).expect("listening");
        let refused = bind(open().expect("another"), &address);
        assert_eq!(refused, Err(Errno::ADDRINUSE));
        drop(listener);
        let [success, listens, close] = listening_life("tcp", address);
        let in_use = Call::here("in_use", "tcp", address).refused("EADDRINUSE");
        let what = format!("an MPTCP listener, by {mechanism}");
        bench.saw(&what, &[success, listens, in_use, close]);
    }
}

/// The other hooks are below the system call.
#[test]
fn reports_a_bind_by_io_uring() {
    for mechanism in MECHANISMS.into_iter().filter(|mechanism| *mechanism != "tracepoint") {
        in_world(|world| {
            let Ok(mut bench) = Bench::try_start(world, mechanism) else { return };
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port(0));
            let socket = tcp(AddressFamily::INET);
            match uring::bind(&socket, address) {
                None => return eprintln!("skipped: no io_uring here, or none that binds"),
                Some(errno) => assert_eq!(errno, 0),
            }
            drop(socket);
            let what = format!("a bind by io_uring, by {mechanism}");
            bench.saw(&what, &bound_life("tcp", address.into()));
        });
    }
}
