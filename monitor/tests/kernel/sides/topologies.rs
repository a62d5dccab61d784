//! Hosts that route, bridge and contain.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    sh, try_sh,
    world::{HERE, Peer, THERE, World, give_addresses, in_world, set_sysctl},
};

use super::support::{assert_sides, enable_ipv6, give_ipv6, sides, unwatched, watched};

/// Asks a server, which is there already, and waits for its answer.
fn ask(client: &Peer, from: IpAddr, server: IpAddr) {
    client.run(move || {
        let client = UdpSocket::bind((from, 0)).expect("bound");
        client.set_read_timeout(Some(testkit::patience())).expect("an option");
        client.send_to(b"ping", (server, watched())).expect("sent");
        client.recv_from(&mut [0; 8]).expect("an answer");
    });
}

/// Answers one datagram to `address`, from another thread of that namespace.
fn serve_at(address: IpAddr, port: u16) {
    let server = UdpSocket::bind((address, port)).expect("bound");
    thread::spawn(move || {
        let (_, from) = server.recv_from(&mut [0; 8]).expect("a question");
        server.send_to(b"pong", from).expect("sent");
    });
}

#[test]
fn a_router_of_ipv6_sees_transit_and_its_own() {
    in_world(|world| {
        let near = world.peer();
        let far = Peer::alone();
        world.veth("gp1", &far, "peer1");
        give_ipv6(&near);
        enable_ipv6("gp1");
        sh("ip address add 2001:db8:a::1/64 dev gp1 nodad");
        set_sysctl("net/ipv6/conf/all/forwarding", "1");
        near.run(|| sh("ip -6 route add 2001:db8:a::/64 via 2001:db8:9::1"));
        far.run(|| {
            enable_ipv6("peer1");
            sh("ip address add 2001:db8:a::2/64 dev peer1 nodad");
            sh("ip -6 route add 2001:db8:9::/64 via 2001:db8:a::1");
        });
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0", "gp1"]));
        let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").into();
        let (client, server) = (address("2001:db8:9::2"), address("2001:db8:a::2"));
        let before = sides(&agent, "udp");
        far.run(move || serve_at(server, watched()));
        ask(&near, client, server);
        // Question and answer, each in and out.
        assert_sides(&agent, "udp", before, [0, 0, 4]);
        serve_at(address("2001:db8:9::1"), watched());
        ask(&near, client, address("2001:db8:9::1"));
        assert_sides(&agent, "udp", before, [2, 0, 4]);
        // To an address of this host on the other interface.
        serve_at(address("2001:db8:a::1"), watched());
        ask(&near, client, address("2001:db8:a::1"));
        assert_sides(&agent, "udp", before, [4, 0, 4]);
    });
}

const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// A bridge `br0` of `gp0` and `gp1` with an address of this host, and the peers behind both.
fn bridge(world: &World) -> (Peer, Peer) {
    let (near, far) = (Peer::alone(), Peer::alone());
    world.veth("gp0", &near, "peer0");
    world.veth("gp1", &far, "peer1");
    sh("ip link add br0 type bridge forward_delay 0 stp_state 0");
    set_sysctl("net/ipv6/conf/br0/disable_ipv6", "1");
    for port in ["gp0", "gp1"] {
        sh(&format!("ip link set {port} master br0"));
    }
    sh("ip link set br0 up");
    sh(&format!("ip address add {HERE}/24 dev br0"));
    near.run(|| sh(&format!("ip address add {THERE}/24 dev peer0")));
    far.run(|| sh(&format!("ip address add {FAR}/24 dev peer1")));
    (near, far)
}

/// The switch that hands bridged packets to netfilter; there with `br_netfilter` alone.
const CALL_NETFILTER: &str = "net/bridge/bridge-nf-call-iptables";

#[test]
fn bridged_packets_are_in_transit_and_those_to_the_bridge_are_not() {
    for mode in ["auto", "tc"] {
        for calls_netfilter in [false, true] {
            in_world(|world| {
                let (near, far) = bridge(world);
                if Path::new("/proc/sys").join(CALL_NETFILTER).exists() {
                    set_sysctl(CALL_NETFILTER, if calls_netfilter { "1" } else { "0" });
                } else if calls_netfilter {
                    return;
                }
                let config = Config::new([watched()]).on(&["gp0", "gp1", "br0"]).mode(mode);
                let agent = Agent::start(world, &config);
                far.run(|| serve_at(FAR.into(), watched()));
                ask(&near, THERE.into(), FAR.into());
                // Question and answer, each on both ports of the bridge and not on the bridge.
                assert_sides(&agent, "udp", [0; 3], [0, 0, 4]);
                serve_at(HERE.into(), watched());
                ask(&near, THERE.into(), HERE.into());
                // On a port and on the bridge.
                assert_sides(&agent, "udp", [0; 3], [4, 0, 4]);
            });
        }
    }
}

/// A bridged packet that netfilter takes for this host keeps the address that it came to, and so do
/// the answers to it.
#[test]
fn a_bridged_packet_that_is_redirected_stays_in_transit() {
    in_world(|world| {
        let (near, _far) = bridge(world);
        if !Path::new("/proc/sys").join(CALL_NETFILTER).exists() {
            return eprintln!("skipped: no br_netfilter here");
        }
        set_sysctl(CALL_NETFILTER, "1");
        sh("nft add table ip gp");
        sh("nft add chain ip gp pre { type nat hook prerouting priority dstnat; }");
        sh(&format!("nft add rule ip gp pre udp dport {} redirect to :{}", watched(), unwatched()));
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0", "gp1", "br0"]));
        serve_at(HERE.into(), unwatched());
        ask(&near, THERE.into(), FAR.into());
        assert_sides(&agent, "udp", [0; 3], [0, 0, on_gp0_and_on_br0(&agent)]);
    });
}

/// The question on `gp0`, the answer on `br0` and `gp0`; where netfilter reinjects the question into
/// the bridge, it is on `br0` too, behind the translation: then it is for an unwatched port.
fn on_gp0_and_on_br0(agent: &Agent) -> u64 {
    thread::sleep(Duration::from_millis(500));
    let [_, _, transit] = sides(agent, "udp");
    assert!((2..=3).contains(&transit), "{transit}");
    transit
}

#[test]
fn an_address_on_a_macvlan_is_local_and_that_of_a_container_is_not() {
    in_world(|world| {
        let near = world.peer();
        let container = Peer::alone();
        for name in ["mv0", "mv1"] {
            sh(&format!("ip link add {name} link gp0 type macvlan mode bridge"));
        }
        set_sysctl("net/ipv6/conf/mv0/disable_ipv6", "1");
        sh("ip link set mv0 up");
        sh("ip address add 10.9.0.5/32 dev mv0");
        sh("ip route add 10.9.0.2/32 dev mv0");
        // Each answers for its own address.
        for interface in ["gp0", "mv0"] {
            set_sysctl(&format!("net/ipv4/conf/{interface}/arp_ignore"), "1");
        }
        sh(&format!("ip link set mv1 netns {}", container.thread_id()));
        container.run(|| {
            set_sysctl("net/ipv6/conf/mv1/disable_ipv6", "1");
            sh("ip link set mv1 up");
            sh("ip address add 10.9.0.6/24 dev mv1");
        });
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        let own: IpAddr = Ipv4Addr::new(10, 9, 0, 5).into();
        let contained: IpAddr = Ipv4Addr::new(10, 9, 0, 6).into();
        container.run(move || serve_at(contained, watched()));
        ask(&near, THERE.into(), contained);
        assert_sides(&agent, "udp", [0; 3], [0, 0, 2]);
        serve_at(own, watched());
        ask(&near, THERE.into(), own);
        assert_sides(&agent, "udp", [0; 3], [2, 0, 2]);
    });
}

/// The addresses of a VRF are in a table of its own.
#[test]
fn an_address_in_a_vrf_is_local() {
    in_world(|world| {
        if !try_sh("ip link add vrf0 type vrf table 4321").0 {
            return eprintln!("skipped: no VRF here");
        }
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        sh("ip link set vrf0 up");
        sh("ip link set gp0 master vrf0");
        give_addresses(&peer);
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0"]));
        super::support::await_side(&agent, &peer, "10.9.0.1", "local");
        super::support::await_side(&agent, &peer, "10.9.0.255", "local");
        super::support::await_side(&agent, &peer, "10.9.0.9", "transit");
        sh("ip address add 10.9.0.9/24 dev gp0");
        super::support::await_side(&agent, &peer, "10.9.0.9", "local");
        sh("ip address del 10.9.0.9/24 dev gp0");
        super::support::await_side(&agent, &peer, "10.9.0.9", "transit");
    });
}
