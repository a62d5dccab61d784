//! Which sockets are found: of every kind, and in every namespace.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    process::{self, Command},
    thread,
};

use ghostport::{
    api::socket::{Family, Socket},
    sockets::TcpState,
};
use monitor_common::flow::{Protocol, Side};
use rustix::{
    net::{AddressFamily, Protocol as NetProtocol, RawProtocol, SocketType, bind, listen},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde_json::{Value, json};
use testkit::{
    agent::{finish, json, stderr, stdout},
    calls::{at, own_socket, v4},
    kernel::is_at_least,
    privileges::{Privileges, SOMEBODY},
    sh,
    world::{Peer, in_world, netns_inode, port},
};

use super::support::{
    Holder, bound_udp, check, check_as, holders, only_socket, pids, sockets, these,
};

/// Raw, because the document must have no more fields.
#[test]
fn check_prints_nothing_for_free_ports() {
    in_world(|_| {
        let (code, mut document) = check_as::<Value>(&[port(1), port(0)]);
        assert_eq!(code, Some(0));
        for port in document["ports"].as_array_mut().expect("ports") {
            // Some of the ports that tests use are registered for a service.
            port.as_object_mut().expect("a port").remove("service");
        }
        let quiet = |port| json!({"port": port, "sockets": []});
        let ports = json!([quiet(port(0)), quiet(port(1))]);
        assert_eq!(document, json!({"schema": "ghostport.check/1", "ports": ports}));
    });
}

/// The document of the contract, to the field: raw for that.
#[test]
fn check_describes_a_socket_in_full() {
    in_world(|_| {
        let holder = Holder::start(bound_udp(port(0))).named("cat");
        let executable = fs::read_link(format!("/proc/{}/exe", holder.pid())).expect("a link");
        let (_, mut document) = check_as::<Value>(&[port(0)]);
        let socket = &mut document["ports"][0]["sockets"][0];
        let told = socket["holders"][0].as_object_mut().expect("a holder");
        // What runs these tests may run in a unit or container itself.
        told.remove("systemd_unit");
        told.remove("container_id");
        let evidence = told.remove("evidence").expect("what it executes");
        assert_eq!(evidence["path"], json!(executable));
        assert_eq!(evidence["sha256"], sha256_of(&executable), "{evidence}");
        let expected = json!({
            "transport": "udp",
            "family": "ipv4",
            "local_address": "127.0.0.1",
            "local_port": port(0),
            "side": "local",
            "scope": "host",
            "netns_inode": netns_inode(),
            "holders": [{
                "pid": holder.pid(),
                "parent_pid": process::id(),
                "executable": executable,
                "name": "cat",
                "command_args": ["cat"],
                "user": "root",
            }],
            // Of a port without `expect`.
            "expected": false,
        });
        assert_eq!(*socket, expected);
        only_socket(port(0));
    });
}

/// What coreutils say.
fn sha256_of(file: &Path) -> String {
    let mut command = Command::new("sha256sum");
    let line = stdout(&finish(command.arg(file)));
    line.split_whitespace().next().expect("a hash").to_owned()
}

/// The sockets on a port as transport, family, local address, peer, state and side.
fn summary(port: u16) -> Vec<String> {
    let (_, document) = check(&[port]);
    let line = |socket: &Socket| {
        assert_eq!(pids(socket), these(&[process::id()]), "{socket:#?}");
        let family = if socket.family == Family::Ipv4 { "ipv4" } else { "ipv6" };
        let peer = socket.peer_address.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
        let state = socket.tcp_state.map_or("-", |state| state.name());
        let (transport, side) = (socket.transport.name(), socket.side.name());
        format!("{transport} {family} {} {peer} {state} {side}", socket.local_address)
    };
    sockets(&document).iter().map(line).collect()
}

#[test]
fn finds_both_ends_of_a_connection() {
    in_world(|_| {
        let (one, two) = (v4(port(0)), at("::1", port(1)));
        let listener = TcpListener::bind(one).expect("bound");
        let _client = TcpStream::connect(one).expect("connected");
        let _accepted = listener.accept().expect("accepted");
        let expected = [
            "tcp ipv4 127.0.0.1 - listen local",
            "tcp ipv4 127.0.0.1 127.0.0.1 established local",
            "tcp ipv4 127.0.0.1 127.0.0.1 established remote",
        ];
        assert_eq!(summary(one.port()), expected);
        let _server = UdpSocket::bind(two).expect("bound");
        let sender = UdpSocket::bind("[::]:0").expect("bound");
        sender.connect(two).expect("connected");
        assert_eq!(summary(two.port()), ["udp ipv6 ::1 - - local", "udp ipv6 ::1 ::1 - remote"]);
        // Both ends on watched ports, and both on the same one.
        let (code, document) = check(&[one.port(), two.port()]);
        assert_eq!((code, document.ports.len()), (Some(1), 2));
        let same = v4(port(2));
        let itself = own_socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
        bind(&itself, &same).expect("bound");
        rustix::net::connect(&itself, &same).expect("connected");
        assert_eq!(summary(same.port()), ["udp ipv4 127.0.0.1 127.0.0.1 - local"]);
    });
}

#[test]
fn finds_the_holder_of_a_multipath_socket() {
    const MPTCP: u32 = 262;
    in_world(|_| {
        let protocol = RawProtocol::new(MPTCP).map(NetProtocol::from_raw);
        let Ok(listener) = own_socket(AddressFamily::INET, SocketType::STREAM, protocol) else {
            return eprintln!("skipped: this kernel has no MPTCP");
        };
        bind(&listener, &v4(port(0))).expect("bound");
        listen(&listener, 1).expect("listening");
        assert_eq!(summary(port(0)), ["tcp ipv4 127.0.0.1 - listen local"]);
    });
}

/// A port that is held without listening refuses others all the same.
#[test]
fn finds_tcp_sockets_that_are_only_bound() {
    in_world(|_| {
        let bound = own_socket(AddressFamily::INET6, SocketType::STREAM, None).expect("a socket");
        bind(&bound, &at("::1", port(0))).expect("bound");
        let told: &[&str] = if is_at_least(6, 8) { &["tcp ipv6 ::1 - bound local"] } else { &[] };
        assert_eq!(summary(port(0)), told);
    });
}

#[test]
fn reports_sockets_without_a_process() {
    in_world(|_| {
        let listener = TcpListener::bind(v4(port(0))).expect("bound");
        let mut client = TcpStream::connect(v4(port(0))).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        drop(listener);
        drop(accepted);
        let _ = client.read(&mut [0]).expect("the end");
        drop(client);
        let socket = only_socket(port(0));
        assert_eq!((socket.tcp_state, socket.side), (Some(TcpState::TimeWait), Side::Local));
        assert!(holders(&socket).is_empty(), "{socket:#?}");
    });
}

/// Through the namespace itself, and, for who may not enter it, through `/proc`.
#[test]
fn finds_sockets_in_other_network_namespaces() {
    in_world(|world| {
        let peer = Peer::alone();
        let (there, _listener, _child) = peer.run(|| {
            let listener = TcpListener::bind(at("::1", port(0))).expect("bound");
            (netns_inode(), listener, Holder::start(bound_udp(port(0))).named("cat"))
        });
        let five = [0, SOMEBODY].map(|user| {
            let ports = port(0).to_string();
            Privileges::five(user).ghostport(world, &["check", &ports, "--json"])
        });
        let (code, document) = check(&[port(0)]);
        // Who may not enter a namespace reads its sockets in /proc, which does not have the flag.
        assert_eq!(document.ports[0].sockets[0].ipv6_only, Some(true));
        let mut root = document.clone();
        root.ports[0].sockets[0].ipv6_only = None;
        for mut command in five {
            let output = finish(&mut command);
            assert_eq!(
                (output.status.code(), json(&output)),
                (code, root.clone()),
                "{}",
                stderr(&output)
            );
        }
        let told: Vec<_> = sockets(&document)
            .iter()
            .map(|socket| (socket.transport, socket.netns_inode.map(u64::from)))
            .collect();
        let expected = vec![(Protocol::Tcp, Some(there)), (Protocol::Udp, Some(there))];
        assert_eq!((code, told), (Some(1), expected));
        assert_eq!(pids(&sockets(&document)[0]), these(&[process::id()]));
        assert_eq!(holders(&sockets(&document)[1])[0].name.as_deref(), Some("cat"));
    });
}

/// No process runs in the namespace: only its name leads to it.
#[test]
fn finds_sockets_in_named_namespaces() {
    in_world(|world| {
        sh("ip netns add gp-named");
        let name = File::open("/run/netns/gp-named").expect("a name");
        let inode = name.metadata().expect("a namespace").ino();
        let enter = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(name.as_fd(), kind).expect("entered");
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(0))).expect("bound")
        };
        let _socket = thread::spawn(enter).join().expect("a socket");
        let socket = only_socket(port(0));
        assert_eq!(socket.netns_inode.map(u64::from), Some(inode));
        assert_eq!(pids(&socket), these(&[process::id()]));
        // Who may not enter it says so, and does not say that all is quiet.
        let ports = port(0).to_string();
        let output = finish(&mut Privileges::five(0).ghostport(world, &["check", &ports]));
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains("1 network namespace could not be entered"));
    });
}
