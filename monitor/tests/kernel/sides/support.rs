//! What the tests of sides share.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    eventually, sh,
    wire::Wire,
    world::{HERE, Peer, THERE, World, port, set_sysctl},
};

pub(super) fn watched() -> u16 {
    port(0)
}

pub(super) fn unwatched() -> u16 {
    port(1)
}

/// IP protocol numbers.
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;
pub(super) const UDP_LITE: u8 = 136;

/// An Ethernet frame with a datagram.
pub(super) fn datagram(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    frame(UDP, source.into(), destination.into(), &[0, 12, 0, 0, b'p', b'i', b'n', b'g'])
}

/// An Ethernet frame for everybody with a packet of a protocol: its ports, and what follows them.
pub(super) fn frame(
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
    rest: &[u8],
) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9]);
    let transport_len = 4 + rest.len() as u8;
    match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0, 0, 20 + transport_len, 0, 7, 0, 0, 64, protocol, 0, 0]);
            for end in [source, destination].map(|end: SocketAddrV4| end.ip().octets()) {
                frame.extend(end);
            }
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, transport_len, protocol, 64]);
            for end in [source, destination].map(|end: SocketAddrV6| end.ip().octets()) {
                frame.extend(end);
            }
        }
        _ => panic!("{source} and {destination} are of two families"),
    }
    frame.extend(source.port().to_be_bytes());
    frame.extend(destination.port().to_be_bytes());
    frame.extend(rest);
    frame
}

/// Sends a datagram as a frame from the peer's end of the pair to an address and the watched port.
pub(super) fn send_to(peer: &Peer, destination: IpAddr) {
    let source: IpAddr = match destination {
        IpAddr::V4(_) => THERE.into(),
        IpAddr::V6(_) => "2001:db8:9::2".parse().expect("an address"),
    };
    let ends = [SocketAddr::new(source, 4000), SocketAddr::new(destination, watched())];
    let frame = frame(UDP, ends[0], ends[1], &[0, 12, 0, 0, b'p', b'i', b'n', b'g']);
    peer.run(move || Wire::open("peer0").send(&frame));
}

/// Waits until a datagram from the peer to an address is of a side: addresses are in force some time
/// after they are configured.
pub(super) fn await_side(agent: &Agent, peer: &Peer, destination: &str, side: &str) {
    let address: IpAddr = destination.parse().expect(destination);
    eventually(&format!("{destination} is {side}"), || {
        let before = packets(agent, "udp", side);
        send_to(peer, address);
        thread::sleep(Duration::from_millis(20));
        (packets(agent, "udp", side) > before).then_some(())
    });
}

/// Packets of the watched port by side: local, remote, transit.
pub(super) fn sides(agent: &Agent, protocol: &str) -> [u64; 3] {
    ["local", "remote", "transit"].map(|side| packets(agent, protocol, side))
}

/// Waits until exactly these packets were counted since `before`, by side.
#[track_caller]
pub(super) fn assert_sides(agent: &Agent, protocol: &str, before: [u64; 3], grown: [u64; 3]) {
    let wanted = [0, 1, 2].map(|side| before[side] + grown[side]);
    let deadline = std::time::Instant::now() + testkit::patience();
    while sides(agent, protocol) != wanted {
        let now = sides(agent, protocol);
        assert!(std::time::Instant::now() < deadline, "{protocol}: {now:?}, not {wanted:?}");
        thread::sleep(Duration::from_millis(10));
    }
    // Nothing more arrives.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(sides(agent, protocol), wanted, "{protocol}");
}

/// Gives both ends of the pair an IPv6 address, usable at once: `2001:db8:9::1` here, `::2` there.
pub(super) fn give_ipv6(peer: &Peer) {
    enable_ipv6("gp0");
    sh("ip address add 2001:db8:9::1/64 dev gp0 nodad");
    peer.run(|| {
        enable_ipv6("peer0");
        sh("ip address add 2001:db8:9::2/64 dev peer0 nodad");
    });
}

/// Switches IPv6 on for an interface that was made without it.
pub(super) fn enable_ipv6(interface: &str) {
    set_sysctl(&format!("net/ipv6/conf/{interface}/accept_dad"), "0");
    set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "0");
}

pub(super) fn packets(agent: &Agent, protocol: &str, side: &str) -> u64 {
    let labels = [("port", &*watched().to_string()), ("protocol", protocol), ("side", side)];
    agent.metrics().sum("ghostport_packets_total", &labels)
}

pub(super) fn await_packets(agent: &Agent, protocol: &str, side: &str, amount: u64) {
    eventually(&format!("{amount} {protocol} packets, {side}"), || {
        (packets(agent, protocol, side) >= amount).then_some(())
    });
}

pub(super) fn state(agent: &Agent) -> String {
    const STATES: [&str; 8] =
        ["quiet", "transit", "probed", "attempted", "outbound", "bound", "answered", "served"];
    let (metrics, port) = (agent.metrics(), watched().to_string());
    let holds = |state: &&&str| {
        let labels = [("port", port.as_str()), ("state", **state)];
        metrics.sum("ghostport_port_state", &labels) == 1
    };
    (*STATES.iter().find(holds).expect("a state")).to_owned()
}

pub(super) fn await_state(agent: &Agent, wanted: &str) {
    eventually(wanted, || (state(agent) == wanted).then_some(()));
}

/// Two readings of the counters, after which the ledger knows all packets of before.
pub(super) fn let_the_ledger_read() {
    thread::sleep(Duration::from_millis(2_500));
}

pub(super) fn awakenings(agent: &Agent) -> usize {
    agent.count_events("awakened")
}

/// Waits for the event of one awakening, which a sink writes after the state has changed.
pub(super) fn await_awakening(agent: &Agent) {
    eventually("an awakening", || (awakenings(agent) > 0).then_some(()));
    assert_eq!(awakenings(agent), 1);
}

/// The agent's host between two others: `gp0` to the one, `gp1` to the other.
pub(super) fn router(world: &World) -> (Peer, Peer, Agent) {
    let near = world.peer();
    let far = Peer::alone();
    world.veth("gp1", &far, "peer1");
    sh("ip address add 10.9.1.1/24 dev gp1");
    set_sysctl("net/ipv4/ip_forward", "1");
    near.run(|| sh(&format!("ip route add 10.9.1.0/24 via {HERE}")));
    far.run(|| {
        sh("ip address add 10.9.1.2/24 dev peer1");
        sh("ip route add 10.9.0.0/24 via 10.9.1.1");
    });
    let agent = Agent::start(world, &Config::new([watched()]).on(&["gp0", "gp1"]));
    (near, far, agent)
}

/// The host behind the router.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 2);
