//! Packets of every shape, in every mode of attachment.

use std::net::UdpSocket;

use testkit::{
    agent::{Agent, Config},
    frames::{Shape, plain_udp, shapes, syn},
    metrics::{Counts, expect},
    programs::{best_tc, has_tcx, without_tcx},
    wire::Wire,
    world::{Peer, in_world},
};

use super::support::{assert_mechanism, first, kernel_errors, other, second, veth_world, watched};

/// Sends every shape both ways, each another number of times, and compares all counters after each.
fn every_shape_both_ways(mode: &'static str, mechanism: &str) {
    in_world(|world| {
        let (peer, agent) = veth_world(world, mode);
        assert_every_shape(&peer, &agent, mechanism);
    });
}

fn assert_every_shape(peer: &Peer, agent: &Agent, mechanism: &str) {
    assert_mechanism(agent, "ingress", "gp0", mechanism);
    let is_tc = matches!(mechanism, "tcx" | "clsact");
    let outgoing = Wire::open("gp0");
    let mut counted = agent.metrics().traffic();
    for (index, shape) in shapes(first(), second(), other()).into_iter().enumerate() {
        let times = index as u64 % 3 + 1;
        let frame = shape.frame.clone();
        peer.run(move || {
            let wire = Wire::open("peer0");
            (0..times).for_each(|_| wire.send(&frame));
        });
        let seen = if shape.reaches_tc_ingress || !is_tc { times } else { 0 };
        let expected = shape.counts(&watched(), "gp0", "ingress", seen);
        counted = agent.assert_traffic(&counted, &expected, shape.name);

        (0..times).for_each(|_| outgoing.send(&shape.frame));
        let expected = shape.counts(&watched(), "gp0", "egress", times);
        counted = agent.assert_traffic(&counted, &expected, shape.name);
    }
    assert_eq!(kernel_errors(&agent.metrics()), Counts::new());
}

#[test]
fn counts_every_shape_by_native_xdp() {
    every_shape_both_ways("auto", "xdp-native");
}

#[test]
fn counts_every_shape_by_generic_xdp() {
    every_shape_both_ways("xdp-generic", "xdp-generic");
}

#[test]
fn counts_every_shape_by_tc() {
    every_shape_both_ways("tc", best_tc());
}

#[test]
fn counts_every_shape_by_clsact() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let _crowd = without_tcx(&["gp0"]);
        let agent = Agent::start(world, &Config::new(watched()).on(&["gp0"]).mode("tc"));
        assert_every_shape(&peer, &agent, "clsact");
    });
}

/// A kernel without TCX says so, and clsact serves.
#[test]
fn reports_why_tcx_was_rejected() {
    in_world(|world| {
        if has_tcx() {
            return eprintln!("skipped: this kernel has TCX");
        }
        let (_peer, agent) = veth_world(world, "tc");
        for hook in ["ingress", "egress"] {
            assert_mechanism(&agent, hook, "gp0", "clsact");
            let reason = agent.hook_at_start(hook, Some("gp0"))["reason"].to_string();
            assert!(reason.contains("no TCX"), "{hook}: {reason}");
        }
    });
}

#[test]
fn counts_every_shape_on_lo() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new(watched()).on(&["lo"]));
        let wire = Wire::open("lo");
        let mut counted = agent.metrics().traffic();
        for shape in shapes(first(), second(), other()) {
            wire.send(&shape.frame);
            let mut expected = shape.counts(&watched(), "lo", "egress", 1);
            if shape.reaches_tc_ingress {
                expected.extend(shape.counts(&watched(), "lo", "ingress", 1));
            }
            counted = agent.assert_traffic(&counted, &expected, shape.name);
        }
    });
}

/// Two interfaces at once, to see that none is counted for the other.
#[test]
fn counts_each_interface_apart() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        world.veth("gp1", &peer, "peer1");
        let agent = Agent::start(world, &Config::new(watched()).on(&["gp*"]));
        let counted = agent.metrics().traffic();
        let shape = |frame, outcome: &Shape| Shape { frame, ..outcome.clone() };
        let all = shapes(first(), second(), other());
        let find = |name: &str| all.iter().find(|shape| shape.name == name).expect("a shape");
        let udp = shape(plain_udp(other(), first()), find("UDP to a watched port"));
        let syn = shape(syn(other(), first()), find("SYN"));
        let (one, two) = (udp.frame.clone(), syn.frame.clone());
        peer.run(move || {
            Wire::open("peer0").send(&one);
            Wire::open("peer1").send(&two);
            Wire::open("peer1").send(&two);
        });
        let mut expected = udp.counts(&watched(), "gp0", "ingress", 1);
        expected.extend(syn.counts(&watched(), "gp1", "ingress", 2));
        agent.assert_traffic(&counted, &expected, "one datagram and two SYNs");
    });
}

/// A datagram that the stack itself splits: the first fragment has the ports, the others do not.
#[test]
fn counts_a_fragmented_datagram_once() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let counted = agent.metrics().traffic();
        peer.run(|| {
            let socket = UdpSocket::bind(("10.9.0.2", other())).expect("bound");
            socket.send_to(&[0; 4000], ("10.9.0.1", first())).expect("sent");
        });
        let mut expected = Counts::new();
        let on = [("interface", "gp0"), ("direction", "ingress")];
        let port = first().to_string();
        let labels =
            [on[0], on[1], ("port", port.as_str()), ("protocol", "udp"), ("side", "local")];
        expect(&mut expected, "ghostport_packets_total", &labels, 1);
        expect(&mut expected, "ghostport_bytes_total", &labels, 1514);
        let labels = [on[0], on[1], ("cause", "fragment")];
        expect(&mut expected, "ghostport_unclassified_packets_total", &labels, 2);
        agent.assert_traffic(&counted, &expected, "three fragments");
    });
}
