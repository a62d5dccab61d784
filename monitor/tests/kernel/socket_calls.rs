//! Socket calls are counted and reported exactly once each: process, address, call and result.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::process::parent_id},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RawProtocol, SocketType, bind, getsockname, listen, socket,
        sockopt,
    },
    process::Signal,
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, expect_sockets, is_call},
    calls::{
        Call, MECHANISMS, NOBODY, as_user, at, bind_as, bind_nowhere, bound_life, compared,
        difference, listening_life, privileged, tcp, udp, v4,
    },
    metrics::{Counts, since},
    patience,
    process::assert_born,
    scaled, uring,
    world::{Peer, World, in_world, netns_inode, port, set_sysctl},
};

/// Offsets of the ports that port 0 may land on.
const AUTOMATIC: std::ops::Range<u16> = 60..80;

/// An agent, and the events that it has sent so far.
struct Bench {
    agent: Agent,
    ports: Vec<u16>,
    counted: Counts,
    told: usize,
    sees_every_close: bool,
}

impl Bench {
    fn start(world: &World, mechanism: &'static str) -> Self {
        Self::try_start(world, mechanism).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Starts an agent with a mechanism that this kernel may lack. Then it says why.
    fn try_start(world: &World, mechanism: &'static str) -> Result<Self, String> {
        let ports: Vec<u16> = (0..90).map(port).chain([privileged()]).collect();
        let config = Config::new(ports.clone()).mechanism(mechanism);
        let agent = Agent::start(world, &config);
        let metrics = agent.metrics();
        let Some(bind) = metrics.mechanism("bind", None) else {
            return Err(refusal(&agent));
        };
        if mechanism != "auto" {
            assert_eq!(bind, mechanism);
        }
        let sees_every_close = metrics.mechanism("close", None).is_some_and(|m| m != "tracepoint");
        Ok(Self { agent, ports, counted: Counts::new(), told: 0, sees_every_close })
    }

    fn bind_mechanism(&self) -> String {
        self.agent.metrics().mechanism("bind", None).expect("a mechanism for binds")
    }

    /// Checks that exactly these calls were counted and reported, in this order.
    #[track_caller]
    fn saw(&mut self, what: &str, calls: &[Call]) {
        let calls: Vec<&Call> = calls
            .iter()
            .filter(|call| call.what != "close" || call.listened || self.sees_every_close)
            .collect();
        let events = self.agent.socket_events();
        let told: Vec<Value> = events[self.told..].iter().map(compared).collect();
        let expected: Vec<Value> = calls.iter().map(|call| call.event()).collect();
        assert!(told == expected, "{what}:\n{}", difference(&told, &expected));
        for event in &events[self.told..] {
            assert_recent(event);
        }
        self.told = events.len();

        let mut expected = Counts::new();
        for call in calls {
            expect_sockets(&mut expected, call.port, call.what, call.transport, 1);
        }
        let now = self.agent.metrics().sockets(&self.ports);
        assert_eq!(since(&self.counted, &now), expected, "{what}: counters");
        self.counted = now;
    }
}

/// The reason that the agent gives for not attaching to binds.
fn refusal(agent: &Agent) -> String {
    let told = agent.events().into_iter().find(|event| {
        event["event.name"] == "ghostport.hook_changed" && event["ghostport.hook"] == "bind"
    });
    let reason = told.expect("an event")["ghostport.reason"].clone();
    reason.as_str().expect("a reason").to_owned()
}

/// The time is RFC 3339 with nanoseconds, and this minute.
fn assert_recent(event: &Value) {
    let time = event["time"].as_str().expect("a time");
    assert_eq!((time.len(), &time[19..20], &time[29..]), (30, ".", "Z"), "{time}");
    let seconds: u64 = time[17..19].parse().expect(time);
    let minutes: u64 = time[14..16].parse().expect(time);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let age = (now % 3600 + 3600 - (minutes * 60 + seconds)) % 3600;
    assert!(age < 60, "{time} is {age} s ago");
}

#[test]
fn reports_every_call_by_fexit() {
    every_call("fexit");
}

#[test]
fn reports_every_call_by_kprobes() {
    every_call("kprobe");
}

#[test]
fn reports_every_call_by_cgroup_hooks() {
    every_call("cgroup");
}

#[test]
fn reports_every_call_by_tracepoints() {
    every_call("tracepoint");
}

/// The agent takes the best of what can be forced.
#[test]
fn selects_the_best_mechanism() {
    let best = MECHANISMS.into_iter().find(|mechanism| {
        let mut is_there = false;
        in_world(|world| is_there = Bench::try_start(world, mechanism).is_ok());
        is_there
    });
    in_world(|world| {
        assert_eq!(Some(&*Bench::start(world, "auto").bind_mechanism()), best);
    });
}

fn every_call(mechanism: &'static str) {
    in_world(|world| match Bench::try_start(world, mechanism) {
        Ok(bench) => every_call_on(bench),
        Err(why) => eprintln!("skipped: {why}"),
    });
}

fn every_call_on(mut bench: Bench) {
    let bench = &mut bench;
    plain_lives(bench);
    refusals(bench);
    users(bench);
    shared_ports(bench);
    port_zero(bench);
    not_ports(bench);
    other_callers(bench);
}

fn plain_lives(bench: &mut Bench) {
    for (family, address) in [
        (AddressFamily::INET, v4(port(0))),
        (AddressFamily::INET, at("0.0.0.0", port(1))),
        (AddressFamily::INET6, at("::1", port(2))),
        (AddressFamily::INET6, at("::", port(3))),
    ] {
        let listener = tcp(family);
        bind(&listener, &address).expect("bound");
        listen(&listener, 1).expect("listening");
        drop(listener);
        bench.saw("a TCP listener", &listening_life("tcp", address));

        let bound = tcp(family);
        bind(&bound, &address).expect("bound");
        drop(bound);
        bench.saw("a TCP socket that never listened", &bound_life("tcp", address));

        let bound = udp(family);
        bind(&bound, &address).expect("bound");
        drop(bound);
        bench.saw("a UDP socket", &bound_life("udp", address));
    }

    let address = v4(port(4));
    let listener = TcpListener::bind(address).expect("bound");
    let client = TcpStream::connect(address).expect("connected");
    let (accepted, _) = listener.accept().expect("accepted");
    let again = accepted.try_clone().expect("cloned");
    drop((client, accepted, again));
    let another = listener.try_clone().expect("cloned");
    drop(listener);
    bench.saw("a listener with a connection, still open", &listening_life("tcp", address)[..2]);
    drop(another);
    bench.saw("its last close", &listening_life("tcp", address)[2..]);

    let v6_only = tcp(AddressFamily::INET6);
    sockopt::set_ipv6_v6only(&v6_only, true).expect("an option");
    let address = at("::", port(5));
    bind(&v6_only, &address).expect("bound");
    let beside = TcpListener::bind(("0.0.0.0", port(5))).expect("bound beside");
    drop((v6_only, beside));
    let [bound, closed] = bound_life("tcp", address);
    let [other, listens, closes] = listening_life("tcp", at("0.0.0.0", port(5)));
    bench.saw("IPv6 alone, and IPv4 beside it", &[bound, other, listens, closed, closes]);
}

fn refusals(bench: &mut Bench) {
    let refused =
        |what, transport, address, errno| Call::here(what, transport, address).refused(errno);
    let address = v4(port(10));
    let holder = TcpListener::bind(address).expect("bound");
    let second = tcp(AddressFamily::INET);
    assert_eq!(bind(&second, &address), Err(Errno::ADDRINUSE));
    bench.saw(
        "a TCP port in use",
        &[
            listening_life("tcp", address)[0].clone(),
            listening_life("tcp", address)[1].clone(),
            refused("in_use", "tcp", address, "EADDRINUSE"),
        ],
    );
    drop(second);
    bench.saw("a refused socket that is closed", &[]);
    drop(holder);
    bench.saw("its holder", &listening_life("tcp", address)[2..]);

    let dual = at("::", port(11));
    let holder = udp(AddressFamily::INET6);
    bind(&holder, &dual).expect("bound");
    let address = at("0.0.0.0", port(11));
    assert_eq!(bind(udp(AddressFamily::INET), &address), Err(Errno::ADDRINUSE));
    drop(holder);
    let [success, close] = bound_life("udp", dual);
    let in_use = refused("in_use", "udp", address, "EADDRINUSE");
    bench.saw("a UDP port that a dual-stack socket holds", &[success, in_use, close]);

    for (family, transport, address) in [
        (AddressFamily::INET, "tcp", at("192.0.2.1", port(12))),
        (AddressFamily::INET, "udp", at("192.0.2.1", port(12))),
        (AddressFamily::INET6, "tcp", at("2001:db8::1", port(12))),
        (AddressFamily::INET6, "udp", at("2001:db8::1", port(12))),
    ] {
        let socket = if transport == "tcp" { tcp(family) } else { udp(family) };
        assert_eq!(bind(&socket, &address), Err(Errno::ADDRNOTAVAIL));
        let call = refused("error", transport, address, "EADDRNOTAVAIL");
        bench.saw("an address that is not ours", &[call]);
    }

    let twice = udp(AddressFamily::INET);
    let (one, two) = (v4(port(13)), v4(port(14)));
    bind(&twice, &one).expect("bound");
    assert_eq!(bind(&twice, &two), Err(Errno::INVAL));
    drop(twice);
    let [success, close] = bound_life("udp", one);
    let refusal = refused("error", "udp", two, "EINVAL");
    bench.saw("a socket that is bound already", &[success, refusal, close]);

    let mixed = tcp(AddressFamily::INET6);
    let address = v4(port(15));
    assert!(bind(&mixed, &address).is_err());
    let errno = match bind(&mixed, &address) {
        Err(Errno::AFNOSUPPORT) => "EAFNOSUPPORT",
        _ => "EINVAL",
    };
    let call = refused("error", "tcp", address, errno);
    let call = Call { family: "ipv6", address: None, ..call };
    bench.saw("an IPv4 address for an IPv6 socket", &[call.clone(), call]);
}

fn users(bench: &mut Bench) {
    const NAME: &str = "another user";
    let address = v4(privileged());
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let address = if family == AddressFamily::INET { address } else { at("::1", privileged()) };
        let thread = as_user(NAME, NOBODY, NOBODY, || {
            assert_eq!(bind(tcp(family), &address), Err(Errno::ACCESS));
            assert_eq!(bind(udp(family), &address), Err(Errno::ACCESS));
        });
        let denied = |transport| {
            let call = Call::here("denied", transport, address).refused("EACCES");
            call.by(NAME, thread, NOBODY, NOBODY)
        };
        bench.saw("a privileged port as a normal user", &[denied("tcp"), denied("udp")]);
    }
    drop(TcpListener::bind(address).expect("bound"));
    bench.saw("a privileged port as root", &listening_life("tcp", address));

    let address = v4(port(20));
    let bound = || drop(UdpSocket::bind(address).expect("bound"));
    let thread = as_user(NAME, NOBODY, 0, bound);
    let calls = bound_life("udp", address).map(|call| call.by(NAME, thread, NOBODY, 0));
    bench.saw("effective and real user apart", &calls);
}

fn shared_ports(bench: &mut Bench) {
    let address = v4(port(30));
    let sharing = || {
        let socket = tcp(AddressFamily::INET);
        sockopt::set_socket_reuseport(&socket, true).expect("an option");
        bind(&socket, &address).expect("bound");
        listen(&socket, 1).expect("listening");
        socket
    };
    let (one, two) = (sharing(), sharing());
    drop(one);
    drop(two);
    let [bind, listen, close] = listening_life("tcp", address);
    let calls = [&bind, &listen, &bind, &listen, &close, &close].map(Clone::clone);
    bench.saw("SO_REUSEPORT", &calls);
}

fn port_zero(bench: &mut Bench) {
    const RANGE: &str = "net/ipv4/ip_local_port_range";
    for (family, address) in [
        (AddressFamily::INET, at("127.0.0.1", 0)),
        (AddressFamily::INET, at("0.0.0.0", 0)),
        (AddressFamily::INET6, at("::1", 0)),
        (AddressFamily::INET6, at("::", 0)),
    ] {
        for transport in ["tcp", "udp"] {
            let socket = if transport == "tcp" { tcp(family) } else { udp(family) };
            set_sysctl(RANGE, &format!("{} {}", port(AUTOMATIC.start), port(AUTOMATIC.end - 1)));
            bind(&socket, &address).expect("bound");
            set_sysctl(RANGE, "32768 60999");
            let got: SocketAddr =
                getsockname(&socket).expect("a name").try_into().expect("an address");
            assert!(bench.ports.contains(&got.port()), "{got}");
            drop(socket);
            bench.saw("port 0", &bound_life(transport, got));
        }
    }
    drop(TcpListener::bind("127.0.0.1:0").expect("bound"));
    bench.saw("port 0 elsewhere", &[]);
}

/// Binds of other kinds, which only look like it.
fn not_ports(bench: &mut Bench) {
    let without_family = udp(AddressFamily::INET);
    assert!(bind_as(&without_family, AddressFamily::UNSPEC, port(40)));
    drop(without_family);
    bench.saw("AF_UNSPEC", &bound_life("udp", at("0.0.0.0", port(40))));

    let unwatched = UdpSocket::bind("127.0.0.1:9").expect("bound");
    let nowhere = udp(AddressFamily::INET);
    assert!(!bind_nowhere(&nowhere));
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None);
    // A netlink address whose third and fourth byte, its padding, read like a port.
    let netlink = netlink.expect("a socket");
    bind_as(&netlink, AddressFamily::NETLINK, port(40));
    drop((unwatched, nowhere, netlink));
    bench.saw("what is no bind of a watched port", &[]);
}

fn other_callers(bench: &mut Bench) {
    let address = v4(port(50));
    let calls = thread::Builder::new().name("gp-binder".into()).spawn(move || {
        drop(TcpListener::bind(address).expect("bound"));
        listening_life("tcp", address)
    });
    let calls = calls.expect("spawned").join().expect("no panic");
    assert!(calls.iter().all(|call| call.thread == "gp-binder" && call.process != "gp-binder"));
    bench.saw("a thread that is not the leader", &calls);

    let peer = Peer::alone();
    let address = v4(port(51));
    let calls = peer.run(move || {
        drop(TcpListener::bind(address).expect("bound"));
        listening_life("tcp", address)
    });
    assert_ne!(calls[0].netns, netns_inode());
    bench.saw("another network namespace", &calls);

    let address = v4(port(52));
    let listener = TcpListener::bind(address).expect("bound");
    let [success, listens, close] = listening_life("tcp", address);
    let holder = Stdio::from(OwnedFd::from(listener));
    let mut child = Command::new("sleep").arg("60").stdin(holder).spawn().expect("spawned");
    bench.saw("a socket that a child inherits", &[success, listens]);
    child.kill().expect("killed");
    child.wait().expect("waited");
    let by_child = Call { thread: "sleep".into(), ..close }.by_child(child.id());
    bench.saw("a process that ends without closing", &[by_child]);
}

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
        let config = Config { command_line: false, ..Config::new([port(0)]) };
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
            let raw = socket(AddressFamily::INET, SocketType::RAW, protocol).expect("a socket");
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
            socket(family, SocketType::STREAM, protocol)
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

/// Every socket call was either reported or counted as lost, with the place of the loss.
#[track_caller]
fn assert_accounted(agent: &Agent) {
    let deadline = Instant::now() + patience();
    loop {
        let metrics = agent.metrics();
        let sum = |name| metrics.sum(name, &[]);
        let calls = sum("ghostport_binds_total")
            + sum("ghostport_listens_total")
            + sum("ghostport_closes_total");
        let lost = sum("ghostport_events_lost_total");
        let events = agent.events();
        let told = events.iter().filter(|event| is_call(event)).count();
        if told as u64 + lost == calls {
            return;
        }
        assert!(Instant::now() < deadline, "{calls} calls, {told} told, {lost} lost");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Several threads produce many times the events that the ring buffer holds, while it is not read.
#[test]
fn counts_a_burst_exactly_and_reports_its_losses() {
    const BINDS: u64 = 20_000;
    const THREADS: u16 = 4;
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        bench.agent.signal(Signal::STOP);
        let succeeded = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let succeeded = &succeeded;
                scope.spawn(move || {
                    // Two threads share a port, so that some binds are refused.
                    let address = v4(port(thread % 2));
                    for _ in 0..BINDS / u64::from(THREADS) {
                        if UdpSocket::bind(address).is_ok() {
                            succeeded.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        bench.agent.signal(Signal::CONT);
        let succeeded = succeeded.into_inner();
        assert!(succeeded < BINDS, "no bind was refused");
        bench.agent.socket_events();
        let metrics = bench.agent.metrics();
        let on_ports = |name, labels: &[(&str, &str)]| -> u64 {
            let ports = [port(0), port(1)].map(|port| port.to_string());
            let sum = |port: &String| metrics.sum(name, &[&[("port", &**port)], labels].concat());
            ports.iter().map(sum).sum()
        };
        let binds = |result| on_ports("ghostport_binds_total", &[("result", result)]);
        let closes = on_ports("ghostport_closes_total", &[]);
        let closed = if bench.sees_every_close { succeeded } else { 0 };
        // A kernel that may be preempted does not run a program for one thread that it has left off
        // for another. It counts how often.
        let missed = metrics.sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        let counted = [binds("success"), binds("in_use"), closes];
        let expected = [succeeded, BINDS - succeeded, closed];
        let short = counted.iter().zip(expected).map(|(counted, expected)| {
            expected.checked_sub(*counted).unwrap_or_else(|| panic!("{counted} of {expected}"))
        });
        assert!(short.sum::<u64>() <= missed, "{counted:?} of {expected:?}, {missed} missed");
        let lost = metrics.sum("ghostport_events_lost_total", &[("stage", "ring")]);
        assert!(lost > 0, "the ring was never full");
        let errors = metrics.sum("ghostport_kernel_errors_total", &[("cause", "ring_full")]);
        assert_eq!(errors, lost);
        assert_accounted(&bench.agent);
        let lines = bench.agent.log().lines().count();
        assert!(lines < 1_000, "{lines} lines of log");
    });
}

/// With an agent that reads, too.
#[test]
fn loses_nothing_of_a_burst_while_the_agent_reads() {
    // Several times what the ring holds.
    let binds = scaled(20_000).max(2_000);
    in_world(|world| {
        let bench = Bench::start(world, "auto");
        let address = v4(port(0));
        for _ in 0..binds {
            UdpSocket::bind(address).expect("bound");
        }
        bench.agent.socket_events();
        let mut expected = Counts::new();
        expect_sockets(&mut expected, address.port(), "success", "udp", binds);
        let closes = if bench.sees_every_close { binds } else { 0 };
        expect_sockets(&mut expected, address.port(), "close", "udp", closes);
        assert_eq!(bench.agent.metrics().sockets(&bench.ports), expected);
        assert_accounted(&bench.agent);
    });
}

/// How often the thread of the agent that reads the rings has waited for something.
fn waits(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{0}/task/{0}/status", agent.pid()));
    let status = status.expect("a thread");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// A process that binds in a loop does not pay for a wakeup each time. Under emulation there are too few
/// binds in a millisecond for it to matter.
#[test]
fn a_burst_wakes_the_agent_seldom() {
    let binds = scaled(20_000);
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        let before = waits(&bench.agent);
        let start = Instant::now();
        (0..binds).for_each(|_| drop(UdpSocket::bind(v4(port(0))).expect("bound")));
        let milliseconds = start.elapsed().as_millis() as u64;
        let waits = waits(&bench.agent) - before;
        // For a record, and for the end of the rest after it; and what else an agent waits for.
        assert!(waits <= 3 * milliseconds + 200, "{waits} times in {milliseconds} ms");
    });
}

/// Between the death of an agent and the start of the next, nothing is missed.
#[test]
fn reports_binds_that_happened_between_agents() {
    in_world(|world| {
        let mut bench = Bench::start(world, "auto");
        bench.saw("nothing yet", &[]);
        let config = Config::new(bench.ports.clone());
        let Bench { agent, ports, counted, told, sees_every_close } = bench;
        agent.kill9();
        let address = v4(port(0));
        drop(TcpListener::bind(address).expect("bound"));
        let holder = TcpListener::bind(address).expect("bound");
        let refused = bind(tcp(AddressFamily::INET), &address);
        assert_eq!(refused, Err(Errno::ADDRINUSE));
        let agent = Agent::start(world, &config);
        let mut bench = Bench { agent, ports, counted, told, sees_every_close };
        let [success, listens, close] = listening_life("tcp", address);
        let refusal = Call::here("in_use", "tcp", address).refused("EADDRINUSE");
        bench.saw(
            "what happened meanwhile",
            &[success.clone(), listens.clone(), close.clone(), success, listens, refusal],
        );
        drop(holder);
        bench.saw("and goes on", &[close]);
    });
}

/// Binds in full swing while the agent dies and comes back.
#[test]
fn a_kill_and_a_restart_lose_no_bind() {
    in_world(|world| {
        let bench = Bench::start(world, "auto");
        let config = Config::new(bench.ports.clone());
        let address = v4(port(0));
        let stop = AtomicBool::new(false);
        let (agent, [succeeded, refused]) = thread::scope(|scope| {
            let binder = scope.spawn(|| {
                let mut counts = [0, 0];
                let start = Instant::now();
                while !stop.load(Ordering::Relaxed) && start.elapsed() < 2 * patience() {
                    // The agent's start inherits the socket for a moment, which refuses the next.
                    counts[usize::from(UdpSocket::bind(address).is_err())] += 1;
                }
                counts
            });
            thread::sleep(Duration::from_millis(20));
            bench.agent.kill9();
            let agent = Agent::start(world, &config);
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
            (agent, binder.join().expect("no panic"))
        });
        assert!(succeeded > scaled(1_000), "only {succeeded} binds");
        let mut expected = Counts::new();
        expect_sockets(&mut expected, address.port(), "success", "udp", succeeded);
        expect_sockets(&mut expected, address.port(), "in_use", "udp", refused);
        let closes = if bench.sees_every_close { succeeded } else { 0 };
        expect_sockets(&mut expected, address.port(), "close", "udp", closes);
        assert_eq!(agent.metrics().sockets(&bench.ports), expected);
    });
}
