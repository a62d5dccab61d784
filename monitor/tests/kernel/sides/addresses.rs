//! Addresses of every kind, as they come and go.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, bind, sockopt};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport},
    calls::udp,
    eventually, scaled, sh,
    wire::{Wire, index_of},
    world::{HERE, THERE, in_world, set_sysctl},
};

use super::support::{
    assert_sides, await_side, datagram, give_ipv6, send_to, sides, unwatched, watched,
};

#[test]
fn a_secondary_address_is_local_while_it_is_there() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        await_side(&agent, &peer, "10.9.0.77", "transit");
        sh("ip address add 10.9.0.77/24 dev gp0");
        await_side(&agent, &peer, "10.9.0.77", "local");
        let before = sides(&agent, "udp");
        for _ in 0..100 {
            send_to(&peer, Ipv4Addr::new(10, 9, 0, 77).into());
        }
        assert_sides(&agent, "udp", before, [100, 0, 0]);
        sh("ip address del 10.9.0.77/24 dev gp0");
        await_side(&agent, &peer, "10.9.0.77", "transit");
    });
}

/// Every packet is counted once, whatever it counts as while the table changes, and as what it is
/// before and after.
#[test]
fn counts_every_packet_while_an_address_comes_and_goes() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let (address, text) = (Ipv4Addr::new(10, 9, 7, 7), "10.9.7.7");
        await_side(&agent, &peer, text, "transit");
        let amount = scaled(20_000).max(400);
        let flood = || {
            peer.start(move || {
                let wire = Wire::open("peer0");
                let frame = datagram((THERE, 4000), (address, watched()));
                for sent in 0..amount {
                    wire.send(&frame);
                    if sent % 100 == 99 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        };
        let total = |agent: &Agent| sides(agent, "udp").iter().sum::<u64>();
        for (change, side) in [
            ("ip address add 10.9.7.7/32 dev gp0", "local"),
            ("ip address del 10.9.7.7/32 dev gp0", "transit"),
        ] {
            let before = total(&agent);
            let flooding = flood();
            thread::sleep(Duration::from_millis(5));
            sh(change);
            flooding.recv().expect("sent");
            eventually("every packet", || (total(&agent) >= before + amount).then_some(()));
            thread::sleep(Duration::from_millis(100));
            assert_eq!(total(&agent), before + amount);
            assert_eq!(sides(&agent, "udp")[1], 0);
            await_side(&agent, &peer, text, side);
            let before = sides(&agent, "udp");
            flood().recv().expect("sent");
            let grown = if side == "local" { [amount, 0, 0] } else { [0, 0, amount] };
            assert_sides(&agent, "udp", before, grown);
        }
    });
}

/// With `net.ipv4.ip_nonlocal_bind`, and by `IP_TRANSPARENT`: while such a socket is open.
#[test]
fn an_address_that_a_socket_is_bound_to_is_local_while_it_is_open() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        for (address, open) in [
            ("10.50.0.1", bound_nonlocally as fn(IpAddr) -> OwnedFd),
            ("10.50.0.2", bound_transparently),
        ] {
            await_side(&agent, &peer, address, "transit");
            let bound = open(address.parse().expect("an address"));
            await_side(&agent, &peer, address, "local");
            await_side(&agent, &peer, "10.50.0.9", "transit");
            drop(bound);
            await_side(&agent, &peer, address, "transit");
        }
    });
}

fn bound_nonlocally(address: IpAddr) -> OwnedFd {
    set_sysctl("net/ipv4/ip_nonlocal_bind", "1");
    let bound = UdpSocket::bind((address, watched())).expect("bound");
    set_sysctl("net/ipv4/ip_nonlocal_bind", "0");
    bound.into()
}

fn bound_transparently(address: IpAddr) -> OwnedFd {
    let bound = udp(AddressFamily::INET);
    sockopt::set_ip_freebind(&bound, false).expect("an option");
    testkit::wire::make_transparent(&bound);
    bind(&bound, &SocketAddr::new(address, watched())).expect("bound");
    bound
}

#[test]
fn addresses_of_ipv6_come_and_go() {
    in_world(|world| {
        let peer = world.peer();
        give_ipv6(&peer);
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        await_side(&agent, &peer, "2001:db8:9::1", "local");
        await_side(&agent, &peer, "2001:db8:9::77", "transit");
        sh("ip address add 2001:db8:9::77/64 dev gp0 nodad");
        await_side(&agent, &peer, "2001:db8:9::77", "local");
        sh("ip address del 2001:db8:9::77/64 dev gp0");
        await_side(&agent, &peer, "2001:db8:9::77", "transit");

        await_side(&agent, &peer, "2001:db8:66::5", "transit");
        sh("ip -6 route add local 2001:db8:66::/48 dev lo");
        await_side(&agent, &peer, "2001:db8:66::5", "local");
        await_side(&agent, &peer, "2001:db8:67::5", "transit");
        sh("ip -6 route del local 2001:db8:66::/48 dev lo");
        await_side(&agent, &peer, "2001:db8:66::5", "transit");

        // The anycast address of a router's subnet.
        await_side(&agent, &peer, "2001:db8:9::", "transit");
        set_sysctl("net/ipv6/conf/all/forwarding", "1");
        await_side(&agent, &peer, "2001:db8:9::", "local");
        set_sysctl("net/ipv6/conf/all/forwarding", "0");
        await_side(&agent, &peer, "2001:db8:9::", "transit");

        let group: Ipv6Addr = "ff15::1234".parse().expect("an address");
        await_side(&agent, &peer, "ff15::1234", "transit");
        let member = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, unwatched())).expect("bound");
        member.join_multicast_v6(&group, index_of("gp0")).expect("joined");
        await_side(&agent, &peer, "ff15::1234", "local");
        member.leave_multicast_v6(&group, index_of("gp0")).expect("left");
        await_side(&agent, &peer, "ff15::1234", "transit");
    });
}

#[test]
fn link_local_addresses_have_sides() {
    in_world(|world| {
        let peer = world.peer();
        give_ipv6(&peer);
        sh("ip address add fe80::1/64 dev gp0 nodad");
        peer.run(|| sh("ip address add fe80::2/64 dev peer0 nodad"));
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        await_side(&agent, &peer, "fe80::99", "transit");
        let before = sides(&agent, "udp");
        let here: Ipv6Addr = "fe80::1".parse().expect("an address");
        let there: Ipv6Addr = "fe80::2".parse().expect("an address");
        let zone = index_of("gp0");
        let server = UdpSocket::bind(SocketAddrV6::new(here, watched(), 0, zone)).expect("bound");
        peer.run(move || {
            let zone = index_of("peer0");
            let client = UdpSocket::bind(SocketAddrV6::new(there, 0, 0, zone)).expect("bound");
            client.send_to(b"ping", SocketAddrV6::new(here, watched(), 0, zone)).expect("sent");
        });
        let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
        server.send_to(b"pong", from).expect("sent");
        assert_sides(&agent, "udp", before, [2, 0, 0]);
        drop(server);
        let client = UdpSocket::bind(SocketAddrV6::new(here, 0, 0, zone)).expect("bound");
        client.send_to(b"ping", SocketAddrV6::new(there, watched(), 0, zone)).expect("sent");
        assert_sides(&agent, "udp", before, [2, 1, 0]);
    });
}

/// A socket of IPv6 that speaks IPv4: its packets have addresses of IPv4.
#[test]
fn an_ipv4_mapped_address_has_the_side_of_its_ipv4_address() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        await_side(&agent, &peer, "10.9.9.9", "transit");
        let before = sides(&agent, "udp");
        let server = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, watched())).expect("bound");
        peer.run(|| {
            let client = UdpSocket::bind((THERE, 0)).expect("bound");
            client.send_to(b"ping", (HERE, watched())).expect("sent");
        });
        let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
        server.send_to(b"pong", from).expect("sent");
        assert_sides(&agent, "udp", before, [2, 0, 0]);
        drop(server);
        let client = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bound");
        client.send_to(b"ping", (THERE.to_ipv6_mapped(), watched())).expect("sent");
        assert_sides(&agent, "udp", before, [2, 1, 0]);
    });
}

/// Failures to read the addresses, or to put them in force.
fn failures(agent: &Agent) -> u64 {
    agent.metrics().sum("ghostport_kernel_errors_total", &[("cause", "addresses_stale")])
}

/// What doctor says of the addresses.
fn doctor() -> Option<Value> {
    let output = finish(ghostport().args(["doctor", "--json"]));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let facts = document["facts"].as_array().expect("facts");
    facts.iter().find(|fact| fact["name"] == "addresses").cloned()
}

#[test]
fn addresses_that_cannot_be_followed_are_said() {
    in_world(|world| {
        let _peer = world.peer();
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        assert_eq!((failures(&agent), doctor()), (0, None));
        // More networks than the kernel side has room for.
        let routes = |verb: &str| {
            let lines: String = (0..4200)
                .map(|i| {
                    format!("route {verb} local 10.{}.{}.0/24 dev lo\n", 100 + i / 256, i % 256)
                })
                .collect();
            let batch = world.path("routes");
            fs::write(&batch, lines).expect("written");
            sh(&format!("ip -batch {}", batch.display()));
        };
        routes("add");
        eventually("a failure", || (failures(&agent) > 0).then_some(()));
        let fact = doctor().expect("a fact");
        assert_eq!(fact["ok"], false, "{fact:#}");
        assert!(fact["costs"].as_str().is_some_and(|costs| costs.contains("sides")), "{fact:#}");
        routes("del");
        eventually("that they are known again", || doctor().is_none().then_some(()));
    });
}
