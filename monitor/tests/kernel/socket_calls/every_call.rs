//! Every kind of call, by every mechanism.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, getsockname, listen, sockopt},
};
use testkit::{
    calls::{
        Call, MECHANISMS, NOBODY, as_user, at, bind_as, bind_nowhere, bind_udp_in_use,
        bind_udp_twice, bound_life, listening_life, own_socket, privileged, refusal,
        sharing_listener, tcp, udp, v4,
    },
    world::{Peer, in_world, netns_inode, port, set_sysctl},
};

use super::bench::{AUTOMATIC, Bench};

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
    let address = v4(port(10));
    let holder = TcpListener::bind(address).expect("bound");
    let second = tcp(AddressFamily::INET);
    assert_eq!(bind(&second, &address), Err(Errno::ADDRINUSE));
    bench.saw(
        "a TCP port in use",
        &[
            listening_life("tcp", address)[0].clone(),
            listening_life("tcp", address)[1].clone(),
            refusal("in_use", "tcp", address, "EADDRINUSE"),
        ],
    );
    drop(second);
    bench.saw("a refused socket that is closed", &[]);
    drop(holder);
    bench.saw("its holder", &listening_life("tcp", address)[2..]);

    bench.saw("a UDP port that a dual-stack socket holds", &bind_udp_in_use(port(11)));

    for (family, transport, address) in [
        (AddressFamily::INET, "tcp", at("203.0.113.1", port(12))),
        (AddressFamily::INET, "udp", at("203.0.113.1", port(12))),
        (AddressFamily::INET6, "tcp", at("2001:db8:ffff::1", port(12))),
        (AddressFamily::INET6, "udp", at("2001:db8:ffff::1", port(12))),
    ] {
        let socket = if transport == "tcp" { tcp(family) } else { udp(family) };
        assert_eq!(bind(&socket, &address), Err(Errno::ADDRNOTAVAIL));
        let call = refusal("error", transport, address, "EADDRNOTAVAIL");
        bench.saw("an address that is not ours", &[call]);
    }

    let calls = bind_udp_twice(v4(port(13)), v4(port(14)));
    bench.saw("a socket that is bound already", &calls);

    let mixed = tcp(AddressFamily::INET6);
    let address = v4(port(15));
    assert!(bind(&mixed, &address).is_err());
    let errno = match bind(&mixed, &address) {
        Err(Errno::AFNOSUPPORT) => "EAFNOSUPPORT",
        _ => "EINVAL",
    };
    let call = refusal("error", "tcp", address, errno);
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
            let call = refusal("denied", transport, address, "EACCES");
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
    let (one, two) = (sharing_listener(address), sharing_listener(address));
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
    let netlink = own_socket(AddressFamily::NETLINK, SocketType::RAW, None);
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
