//! From where each holder can be reached: from this host alone, or from elsewhere.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener},
    os::fd::OwnedFd,
};

use ghostport::sockets::SocketScope;
use rustix::net::{AddressFamily, bind};
use testkit::{
    calls::{tcp, udp},
    sh, try_sh,
    wire::{bind_to_device, index_of},
    world::{HERE, Peer, in_world, port, set_sysctl},
};

use super::support::only_socket;

/// The scope of the only socket on the port, while `socket` is open.
#[track_caller]
fn scope_of(socket: impl Into<OwnedFd>) -> SocketScope {
    let _socket = socket.into();
    only_socket(port(0)).scope.expect("a scope")
}

fn bound(address: impl Into<IpAddr>) -> OwnedFd {
    let address = SocketAddr::new(address.into(), port(0));
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = udp(family);
    bind(&socket, &address).expect("bound");
    socket
}

fn bound_to_device(interface: &str) -> OwnedFd {
    let socket = udp(AddressFamily::INET);
    bind_to_device(&socket, interface);
    bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(0)))).expect("bound");
    socket
}

#[test]
fn a_socket_at_an_address_of_the_loopback_is_reached_from_this_host_alone() {
    in_world(|world| {
        let _peer = world.peer();
        assert_eq!(scope_of(bound(Ipv4Addr::LOCALHOST)), SocketScope::Host);
        assert_eq!(scope_of(bound(Ipv4Addr::new(127, 9, 9, 9))), SocketScope::Host);
        assert_eq!(scope_of(bound(Ipv6Addr::LOCALHOST)), SocketScope::Host);
        assert_eq!(scope_of(bound(Ipv4Addr::LOCALHOST.to_ipv6_mapped())), SocketScope::Host);
    });
}

#[test]
fn a_socket_at_another_address_is_reached_from_elsewhere() {
    in_world(|world| {
        let _peer = world.peer();
        for address in [Ipv4Addr::UNSPECIFIED, HERE] {
            assert_eq!(scope_of(bound(address)), SocketScope::World, "{address}");
            assert_eq!(
                scope_of(bound(address.to_ipv6_mapped())),
                SocketScope::World,
                "{address}, mapped"
            );
        }
        assert_eq!(scope_of(bound(Ipv6Addr::UNSPECIFIED)), SocketScope::World);
        let listener = TcpListener::bind((HERE, port(0))).expect("bound");
        assert_eq!(scope_of(listener), SocketScope::World);
    });
}

#[test]
fn a_link_local_address_is_reached_from_the_link() {
    in_world(|world| {
        let _peer = world.peer();
        set_sysctl("net/ipv6/conf/gp0/disable_ipv6", "0");
        sh("ip address add fe80::1/64 dev gp0 nodad");
        let address: Ipv6Addr = "fe80::1".parse().expect("an address");
        let socket = udp(AddressFamily::INET6);
        bind(&socket, &SocketAddrV6::new(address, port(0), 0, index_of("gp0"))).expect("bound");
        assert_eq!(scope_of(socket), SocketScope::World);
    });
}

#[test]
fn a_socket_that_is_bound_to_an_interface_is_reached_from_there() {
    in_world(|world| {
        let _peer = world.peer();
        assert_eq!(scope_of(bound_to_device("lo")), SocketScope::Host);
        assert_eq!(scope_of(bound_to_device("gp0")), SocketScope::World);
        if !try_sh("ip link add gp9 type dummy").0 {
            return eprintln!("no dummy interface here");
        }
        sh("ip link set gp9 up");
        assert_eq!(scope_of(bound_to_device("gp9")), SocketScope::Host);
    });
}

/// A namespace without a way out, and the same with one.
#[test]
fn a_socket_in_a_namespace_of_its_own_is_reached_through_its_interfaces() {
    in_world(|world| {
        let alone = Peer::alone();
        let open = || {
            let listener = tcp(AddressFamily::INET);
            bind(&listener, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(0)))).expect("bound");
            rustix::net::listen(&listener, 1).expect("listening");
            listener
        };
        assert_eq!(scope_of(alone.run(open)), SocketScope::Host);
        world.veth("gp1", &alone, "peer1");
        assert_eq!(scope_of(alone.run(open)), SocketScope::World);
    });
}
