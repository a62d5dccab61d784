//! Which ports and which interfaces are counted.

use aya::{
    maps::Array,
    programs::{TcAttachType, XdpMode},
};
use monitor_common::{flow::Direction, limits::NEAR_INTERFACES, ports::PortSet};
use testkit::{
    frames::{Outcome, plain_udp, syn},
    sh,
    wire::Wire,
    world::{in_world, set_sysctl},
};

use super::support::{
    Counts, FIRST, NEXT, OTHER, Programs, SECOND, XDP_PASS, every_shape, expected, is_watched, map,
};

#[test]
fn every_port_can_be_watched() {
    let mut programs = Programs::watching(1..=u16::MAX);
    let ends = [(1, u16::MAX), (u16::MAX, 0), (0, 0), (0, 1), (FIRST, FIRST), (OTHER, 443)];
    for (source, destination) in ends {
        let frame = plain_udp(source, destination);
        let outcome = Outcome::Segment { protocol: "udp", source, destination, attempt: false };
        let watched = |port| port != 0;
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        assert_eq!(counted, expected(outcome, watched, Direction::Ingress, frame.len()));
        let counted = programs.counted(|programs| {
            programs.run_tc("tc_egress", &frame);
        });
        assert_eq!(counted, expected(outcome, watched, Direction::Egress, frame.len()));
    }
}

#[test]
fn counts_the_first_and_the_last_port() {
    let mut programs = Programs::watching([0, u16::MAX]);
    for (source, destination) in [(0, u16::MAX), (u16::MAX, 0), (1, 0), (0, 1), (1, u16::MAX - 1)] {
        let frame = syn(source, destination);
        let outcome = Outcome::Segment { protocol: "tcp", source, destination, attempt: true };
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        let watched = |port| matches!(port, 0 | u16::MAX);
        assert_eq!(counted, expected(outcome, watched, Direction::Ingress, frame.len()));
    }
}

/// Neighbours in the set, in a word of it and in the pairs of slots.
#[test]
fn counts_only_watched_ports() {
    const WATCHED: [u16; 7] = [63, 64, 127, 256, 2948, 2949, 32768];
    let mut programs = Programs::watching(WATCHED);
    for destination in (0..=u16::MAX).filter(|port| {
        WATCHED.iter().any(|watched| {
            watched.abs_diff(*port) <= 2
                || watched.swap_bytes() == *port
                || (watched ^ port).is_power_of_two()
        })
    }) {
        let frame = plain_udp(0, destination);
        let counted = programs.counted(|programs| {
            programs.run_xdp("xdp_ingress", &frame);
        });
        let outcome = Outcome::Segment { protocol: "udp", source: 0, destination, attempt: false };
        let watched = |port| WATCHED.contains(&port);
        let expected = expected(outcome, watched, Direction::Ingress, frame.len());
        assert_eq!(counted, expected, "port {destination}");
    }
}

#[test]
fn counts_unclassified_packets_by_cause() {
    const ELSEWHERE: u32 = 4242;
    let mut programs = Programs::on(ELSEWHERE, [FIRST]);
    let frame = plain_udp(OTHER, FIRST);
    let counted = programs.counted(|programs| {
        assert_eq!(programs.run_xdp("xdp_ingress", &frame), XDP_PASS);
        assert_eq!(programs.run_tc("tc_ingress", &frame), NEXT);
    });
    assert_eq!(counted, Counts::from([("error interface_missing".to_owned(), 2)]));

    // A port that is watched before it has an index.
    let mut programs = Programs::watching([FIRST]);
    let mut set: Array<_, [u64; 1024]> =
        map(&mut programs.object, ".bss.port_set").try_into().unwrap();
    let both: PortSet = [FIRST, SECOND].into_iter().collect();
    set.set(0, bytemuck::cast::<PortSet, [u64; 1024]>(both), 0).unwrap();
    let frame = plain_udp(FIRST, SECOND);
    let counted = programs.counted(|programs| {
        assert_eq!(programs.run_xdp("xdp_ingress", &frame), XDP_PASS);
    });
    let outcome =
        Outcome::Segment { protocol: "udp", source: FIRST, destination: SECOND, attempt: false };
    let mut wanted = expected(outcome, |port| port == FIRST, Direction::Ingress, frame.len());
    wanted.insert("error slot_missing".to_owned(), 1);
    assert_eq!(counted, wanted);
}

/// Interfaces whose index is too large for the table find their counters by the hash.
#[test]
fn counts_on_interfaces_with_large_indices() {
    const INDICES: [u32; 2] = [NEAR_INTERFACES, 70_000];
    in_world(|_| {
        let [first, second] = INDICES;
        sh(&format!("ip link add gp0 index {first} type veth peer name gp1 index {second}"));
        for interface in ["gp0", "gp1"] {
            set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1");
            sh(&format!("ip link set {interface} up"));
        }
        let mut sender = Programs::on(first, [FIRST, SECOND]);
        sender.attach_tc("tc_egress", "gp0", TcAttachType::Egress);
        let mut receiver = Programs::on(second, [FIRST, SECOND]);
        receiver.xdp("xdp_ingress").attach_to_if_index(second, XdpMode::Driver).unwrap();
        let wire = Wire::open("gp0");
        for shape in every_shape() {
            let mut received = Counts::new();
            let sent = sender.counted(|_| {
                received = receiver.counted(|_| wire.send(&shape.frame));
            });
            let expected =
                |direction| expected(shape.outcome, is_watched, direction, shape.frame.len());
            assert_eq!(sent, expected(Direction::Egress), "{}", shape.name);
            assert_eq!(received, expected(Direction::Ingress), "{}", shape.name);
        }
    });
}
