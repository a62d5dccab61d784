//! What is in the way of a bind, and sockets of the kernel.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, bind, sockopt},
};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    calls::{MECHANISMS, at, tcp, udp, v4},
    eventually, sh, try_sh,
    world::{World, in_world, port, set_sysctl},
};

/// An agent for each mechanism that works here.
fn by_every_mechanism(test: fn(&World, &Agent)) {
    for mechanism in MECHANISMS {
        in_world(|world| {
            let agent = Agent::start(world, &Config::new([port(0)]).mechanism(mechanism));
            match agent.metrics().mechanism("bind", None) {
                Some(_) => test(world, &agent),
                None => eprintln!("{mechanism}: skipped: the kernel refuses it"),
            }
        });
    }
}

/// The last event of a kind.
fn last(agent: &Agent, kind: &str) -> Value {
    let events = agent.socket_events();
    let is_it = |event: &&Value| event["event.name"] == format!("ghostport.{kind}");
    events.iter().rev().find(is_it).unwrap_or_else(|| panic!("no {kind}: {events:#?}")).clone()
}

fn refused(address: SocketAddr) {
    assert_eq!(bind(tcp(AddressFamily::INET), &address), Err(Errno::ADDRINUSE));
}

#[test]
fn a_refused_bind_names_the_process_that_listens() {
    by_every_mechanism(|_, agent| {
        let address = v4(port(0));
        let _listener = TcpListener::bind(address).expect("bound");
        refused(address);
        let held_by = &last(agent, "bind_failed")["ghostport.held_by"];
        assert_eq!(held_by["kind"], "process", "{held_by}");
        assert_eq!(held_by["process.pid"], process::id(), "{held_by}");
        assert_eq!(held_by["network.local.port"], port(0), "{held_by}");
        assert_eq!(held_by["ghostport.port_chosen_by"], "program", "{held_by}");
    });
}

#[test]
fn a_refused_bind_names_the_outgoing_connection() {
    by_every_mechanism(|_, agent| {
        const RANGE: &str = "net/ipv4/ip_local_port_range";
        let server = TcpListener::bind(v4(port(5))).expect("bound");
        set_sysctl(RANGE, &format!("{} {}", port(0), port(0)));
        let client = TcpStream::connect(v4(port(5))).expect("connected");
        assert_eq!(client.local_addr().expect("an address").port(), port(0));
        refused(at("0.0.0.0", port(0)));
        let held_by = &last(agent, "bind_failed")["ghostport.held_by"];
        assert_eq!(held_by["kind"], "outgoing_connection", "{held_by}");
        assert_eq!(held_by["process.pid"], process::id(), "{held_by}");
        assert_eq!(held_by["network.peer.port"], port(5), "{held_by}");
        assert!(held_by["ghostport.port_chosen_by"].is_null(), "{held_by}");
        set_sysctl(RANGE, "32768 60999");
        drop((server, client));
    });
}

#[test]
fn sockets_that_look_alike_are_told_apart() {
    by_every_mechanism(|_, agent| {
        for v6_only in [true, false] {
            let socket = udp(AddressFamily::INET6);
            sockopt::set_ipv6_v6only(&socket, v6_only).expect("an option");
            bind(&socket, &at("::", port(0))).expect("bound");
            assert_eq!(last(agent, "bind")["ghostport.ipv6_only"], v6_only);
        }
        let socket = udp(AddressFamily::INET);
        bind(&socket, &v4(port(0))).expect("bound");
        assert!(last(agent, "bind")["ghostport.ipv6_only"].is_null());
    });
}

/// VXLAN has a socket of the kernel.
#[test]
fn a_bind_of_the_kernel_is_blamed_on_no_process() {
    by_every_mechanism(|_, agent| {
        let add = format!("ip link add gpvx0 type vxlan id 5 local 127.0.0.1 dstport {}", port(0));
        let (is_there, said) = try_sh(&add);
        if !is_there {
            return eprintln!("skipped: this kernel has no VXLAN: {said}");
        }
        sh("ip link set gpvx0 up");
        let is_seen_below_the_call =
            agent.metrics().mechanism("bind", None).is_some_and(|by| by != "tracepoint");
        if is_seen_below_the_call {
            let event = eventually("a bind", || {
                agent.events().into_iter().find(|event| event["event.name"] == "ghostport.bind")
            });
            assert_eq!(event["ghostport.kernel_socket"], true, "{event}");
            assert_eq!(event["network.local.port"], port(0), "{event}");
            assert!(event["process.pid"].is_null(), "{event}");
        }
        sh("ip link del gpvx0");
    });
}
