//! A process that sends to a watched port of another host is named, and no call is changed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    process, thread,
    time::{Duration, Instant},
};

use monitor_common::call_share::OF_PROCESS;
use rustix::{
    fs::{MemfdFlags, memfd_create},
    net::{AddressFamily, SocketType, connect, ipproto},
    process::Uid,
    thread::set_thread_res_uid,
};
use serde_json::{Value, json};
use testkit::{
    agent::{Agent, Config, repeats},
    calls::{NOBODY, own_socket, tcp, udp},
    child::forked,
    connect_filter::RefusedConnects,
    eventually, eventually_within, is_emulated, uring,
    world::{HERE, THERE, World, in_world, netns_inode, port},
};

/// An address for documentation (RFC 5737), to which no host has a route here.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// The same of IPv6 (RFC 3849).
const ELSEWHERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 9);

/// An agent whose hook is attached. `None` where no mechanism serves it, and why.
fn agent(world: &World, config: &Config) -> Option<Agent> {
    Agent::start_hooked(world, config, "connect")
}

fn connects(agent: &Agent) -> Vec<Value> {
    let is_connect = |event: &Value| event["event.name"] == "ghostport.connect";
    agent.events().into_iter().filter(is_connect).collect()
}

/// The events, once calls before this one must have theirs.
fn connects_so_far(agent: &Agent) -> Vec<Value> {
    let _ = agent.socket_events();
    connects(agent)
}

/// The event on a port, of which there is one.
#[track_caller]
fn only_connect(agent: &Agent, port: u16) -> Value {
    let on_port = |event: &Value| event["ghostport.port"] == port;
    let found = eventually("a connect", || {
        let found: Vec<Value> = connects(agent).into_iter().filter(on_port).collect();
        (!found.is_empty()).then_some(found)
    });
    let [event] = &found[..] else { panic!("{found:?}") };
    event.clone()
}

/// What an event says, without what differs from run to run.
fn told(event: &Value) -> Value {
    let field = |name: &str| event[name].clone();
    json!([
        field("network.transport"),
        field("network.type"),
        field("network.peer.address"),
        field("network.peer.port"),
        field("process.pid"),
    ])
}

fn is_unreachable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkUnreachable
}

fn mapped(address: Ipv4Addr) -> IpAddr {
    address.to_ipv6_mapped().into()
}

#[test]
fn names_the_process_of_every_kind_of_call() {
    in_world(every_kind_of_call);
}

#[test]
fn names_the_process_without_a_unified_hierarchy() {
    in_world(|world| {
        world.without_cgroup2();
        every_kind_of_call(world);
    });
}

fn every_kind_of_call(world: &World) {
    let ports: Vec<u16> = (0..8).map(port).collect();
    let Some(agent) = agent(world, &Config::new(ports.clone())) else { return };
    let here = Ipv4Addr::UNSPECIFIED;
    let here6 = Ipv6Addr::UNSPECIFIED;
    let stream = |port, address: IpAddr| TcpStream::connect((address, port)).map(drop);
    let connected = |port, from: IpAddr, address: IpAddr| {
        UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((address, port)))
    };
    let datagram = |port, from: IpAddr, address: IpAddr| {
        UdpSocket::bind((from, 0))
            .and_then(|socket| socket.send_to(b"x", (address, port)).map(drop))
    };
    let calls = [
        stream(ports[0], ELSEWHERE.into()),
        connected(ports[1], here.into(), ELSEWHERE.into()),
        datagram(ports[2], here.into(), ELSEWHERE.into()),
        stream(ports[3], ELSEWHERE6.into()),
        connected(ports[4], here6.into(), ELSEWHERE6.into()),
        datagram(ports[5], here6.into(), ELSEWHERE6.into()),
        stream(ports[6], mapped(ELSEWHERE)),
        datagram(ports[7], here6.into(), mapped(ELSEWHERE)),
    ];
    for (call, result) in calls.into_iter().enumerate() {
        assert!(result.as_ref().is_err_and(is_unreachable), "{call}: {result:?}");
    }
    let (tcp, udp) = ("tcp", "udp");
    let (v4, v6) = (("ipv4", ELSEWHERE.to_string()), ("ipv6", ELSEWHERE6.to_string()));
    let expected = [
        (tcp, &v4),
        (udp, &v4),
        (udp, &v4),
        (tcp, &v6),
        (udp, &v6),
        (udp, &v6),
        (tcp, &v4),
        (udp, &v4),
    ];
    for ((transport, (kind, address)), port) in expected.into_iter().zip(ports) {
        let event = only_connect(&agent, port);
        assert_eq!(told(&event), json!([transport, kind, address, port, process::id()]));
        assert_eq!(event["ghostport.severity"], "warning");
        assert_eq!(event["ghostport.netns_inode"], netns_inode(), "{event}");
        assert!(event["process.executable.path"].is_string(), "{event}");
        assert!(event["process.command_args"].is_array(), "{event}");
        assert!(event["network.local.port"].is_null(), "{event}");
        let mechanism = agent.hook_at_start("connect", None)["mechanism"].clone();
        assert_eq!(event["ghostport.mechanism"], mechanism);
    }
}

#[test]
fn names_the_process_of_a_connect_by_io_uring() {
    in_world(|world| {
        let Some(agent) = agent(world, &Config::new([port(0)])) else { return };
        let client = udp(AddressFamily::INET);
        let address = SocketAddrV4::new(ELSEWHERE, port(0));
        if uring::connect(&client, address).is_none() {
            eprintln!("skipped: no io_uring");
            return;
        }
        let event = only_connect(&agent, port(0));
        let expected = json!(["udp", "ipv4", ELSEWHERE.to_string(), port(0), process::id()]);
        assert_eq!(told(&event), expected);
    });
}

#[test]
fn names_a_sender_that_has_ended() {
    in_world(|world| {
        let ports = [port(0), port(1)];
        let Some(agent) = agent(world, &Config::new(ports)) else { return };
        let (datagram, stream) = (udp(AddressFamily::INET), tcp(AddressFamily::INET));
        let [first, second] = ports.map(|port| SocketAddr::from((ELSEWHERE, port)));
        let child =
            forked(|| connect(&datagram, &first).is_err() && connect(&stream, &second).is_err());
        let child = child.expect("refused for want of a route");
        for port in ports {
            let event = only_connect(&agent, port);
            assert_eq!(event["process.pid"], child);
            assert_eq!(event["process.parent_pid"], process::id());
            assert!(event["process.executable.name"].is_string(), "{event}");
            assert!(event["process.command_args"].is_array(), "{event}");
            assert!(event["process.creation.time"].is_string(), "{event}");
        }
    });
}

#[test]
fn a_sender_makes_one_event_for_each_peer() {
    in_world(|world| {
        let _peer = world.peer();
        let Some(agent) = agent(world, &Config::new([port(0)]).identified("every")) else { return };
        let client = UdpSocket::bind((HERE, 0)).expect("bound");
        for _ in 0..200 {
            client.send_to(b"x", (THERE, port(0))).expect("sent");
        }
        let _ = client.send_to(b"x", (ELSEWHERE, port(0)));
        let found = connects_so_far(&agent);
        let peers: Vec<&Value> = found.iter().map(|event| &event["network.peer.address"]).collect();
        assert_eq!(peers, [&json!(THERE.to_string()), &json!(ELSEWHERE.to_string())]);
    });
}

#[test]
fn what_is_sent_to_this_host_or_to_another_port_is_no_event() {
    in_world(|world| {
        let _peer = world.peer();
        let Some(agent) = agent(world, &Config::new([port(0)])) else { return };
        let here6 = Ipv6Addr::LOCALHOST;
        for address in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv4Addr::UNSPECIFIED.into(),
            HERE.into(),
            here6.into(),
            mapped(HERE),
        ] {
            let _ = TcpStream::connect((address, port(0)));
            let from = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let client = UdpSocket::bind(from).expect("bound");
            let _ = client.send_to(b"x", (address, port(0)));
        }
        let _ = TcpStream::connect_timeout(&(THERE, port(1)).into(), Duration::from_millis(100));
        // A raw socket has no port.
        let raw = own_socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));
        let _ = connect(raw.expect("a socket"), &SocketAddr::from((THERE, port(0))));
        assert_eq!(connects_so_far(&agent), [] as [Value; 0]);
    });
}

#[test]
fn a_connect_that_another_program_refuses_stays_refused_and_is_named() {
    in_world(|world| {
        let Some(group) = RefusedConnects::new() else {
            eprintln!("skipped: no unified hierarchy of control groups");
            return;
        };
        let peer = world.peer();
        let Some(agent) = agent(world, &Config::new([port(0)])) else { return };
        let _server = peer.run(|| UdpSocket::bind((THERE, port(0))).expect("bound"));
        let there = SocketAddr::from((THERE, port(0)));
        let child = forked(|| // A socket belongs to the group in which it is made.
            group.enter()
                && connect(udp(AddressFamily::INET), &there) == Err(rustix::io::Errno::PERM));
        let child = child.expect("a connect that is refused by the other program");
        connect(udp(AddressFamily::INET), &there).expect("outside of the group it is allowed");
        let found = eventually("both", || Some(connects(&agent)).filter(|found| found.len() == 2));
        let callers: Vec<&Value> = found.iter().map(|event| &event["process.pid"]).collect();
        assert_eq!(callers, [&json!(child), &json!(process::id())]);
    });
}

/// Binds of another process are reported in time while an unprivileged user sends to ever other
/// addresses, and what the flood did is in the counts of its events.
#[test]
fn a_flood_of_connects_hides_no_bind() {
    in_world(|world| {
        let ports = [port(0), port(1)];
        let [flooded, quiet] = ports;
        let Some(agent) = agent(world, &Config::new(ports)) else { return };
        let client = udp(AddressFamily::INET);
        let flood_for = Duration::from_secs(if is_emulated() { 12 } else { 4 });
        // An emulated CPU has little left beside a flood.
        let (binds, limit) = if is_emulated() { (5, 30) } else { (20, 1) };
        let limit = Duration::from_secs(limit);
        let calls = thread::scope(|scope| {
            let flood = scope.spawn(|| flood(&client, flooded, Instant::now() + flood_for));
            for number in 1..=binds {
                thread::sleep(Duration::from_millis(50));
                let address = Ipv4Addr::new(127, 0, 0, number);
                drop(UdpSocket::bind((address, quiet)).expect("bound"));
                eventually_within(limit, "the bind", || {
                    let of_it = |event: &Value| {
                        event["event.name"] == "ghostport.bind"
                            && event["network.local.address"] == address.to_string()
                    };
                    agent.events().iter().any(of_it).then_some(())
                });
            }
            flood.join().expect("a flood")
        });
        // Sums are emitted within seconds, summaries by the end of the agent.
        thread::sleep(Duration::from_secs(3));
        let metrics = agent.metrics();
        assert_eq!(metrics.sum("ghostport_events_lost_total", &[("stage", "ring")]), 0);
        let log = world.path("events.jsonl");
        assert_eq!(agent.terminate().code(), Some(0));
        let events = std::fs::read_to_string(log).expect("events");
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let of_flood: Vec<Value> = events
            .filter(|event| {
                event["event.name"] == "ghostport.connect"
                    || event["ghostport.summary_of"] == "connect"
            })
            .collect();
        let accounted: u64 = of_flood.iter().map(repeats).sum();
        println!("{calls} connects in {} events", of_flood.len());
        assert_eq!(accounted, calls);
        // Those of the share of the process, and a sum or two a second.
        let share =
            u64::try_from(flood_for.as_nanos()).expect("nanoseconds") / OF_PROCESS.interval_ns;
        let most = OF_PROCESS.burst + share + 10 * flood_for.as_secs();
        assert!(of_flood.len() as u64 <= most, "{} events, {most} at most", of_flood.len());
        assert!(calls > 2 * most, "{calls} calls are no flood");
    });
}

/// Sends to addresses of its own, one call each, as an unprivileged user. Returns how many.
fn flood(client: &std::os::fd::OwnedFd, port: u16, end: Instant) -> u64 {
    let file = memfd_create(c"calls", MemfdFlags::CLOEXEC).expect("a file");
    let child = forked(|| {
        let nobody = Uid::from_raw(NOBODY);
        let is_unprivileged = set_thread_res_uid(nobody, nobody, nobody).is_ok();
        let mut calls = 0_u32;
        while is_unprivileged && Instant::now() < end {
            calls += 1;
            // Each address once: a second call to one of them makes no record.
            let address = Ipv4Addr::from_bits(0x1000_0000 + calls);
            let _ = connect(client, &SocketAddr::from((address, port)));
        }
        rustix::io::write(&file, &u64::from(calls).to_ne_bytes()) == Ok(8)
    });
    assert!(child.is_some(), "nobody is not allowed to flood");
    let mut bytes = [0; 8];
    rustix::io::pread(&file, &mut bytes, 0).expect("a number");
    u64::from_ne_bytes(bytes)
}
