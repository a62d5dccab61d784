//! Which packets are activity of a port, by side and by who began the conversation.

use super::*;

const PASSING: [(Direction, Side); 2] =
    [(Direction::Ingress, Side::Transit), (Direction::Egress, Side::Transit)];

#[test]
fn loopback_traffic_is_not_outbound() {
    let mut bench = Bench::new();
    bench.begin(Protocol::Tcp);
    for place in [IN, REPLY, ANSWER] {
        bench.packet(Protocol::Tcp, place);
    }
    bench.now = 1;
    bench.read_on(LOOPBACK);
    assert_eq!(bench.state(), PortState::Probed);
}

#[test]
fn remote_answers_are_not_probes() {
    let mut bench = Bench::new();
    bench.begin(Protocol::Tcp);
    bench.read_until(1);
    bench.packet(Protocol::Tcp, ANSWER);
    bench.read_until(100);
    bench.packet(Protocol::Tcp, ANSWER);
    bench.read_until(301);
    assert_eq!(bench.state(), PortState::Quiet, "not probed at 2 or 101");
}

#[test]
fn a_conversation_that_the_peer_began_is_no_activity() {
    for protocol in Protocol::COMMON {
        let mut bench = Bench::new();
        bench.read_until(10);
        // Its source port is the watched one, by chance.
        for _ in 0..3 {
            bench.packet(protocol, ANSWER);
            bench.packet(protocol, OUT);
        }
        bench.read_until(20);
        assert_eq!(bench.take_transitions(), []);
        assert_eq!(bench.state(), PortState::Quiet);
        assert_eq!(bench.facts().last_packet(protocol), None);
    }
}

#[test]
fn a_conversation_that_this_host_begins_is_outbound() {
    for protocol in Protocol::COMMON {
        let mut bench = Bench::new();
        bench.read_until(10);
        bench.begin(protocol);
        bench.read_until(11);
        assert_eq!(bench.take_transitions().len(), 1);
        assert_eq!(bench.state(), PortState::Outbound);
    }
}

#[test]
fn transit_awakens_nothing() {
    let mut bench = Bench::new();
    bench.read_until(10);
    for place in PASSING {
        bench.packet(Protocol::Udp, place);
    }
    bench.read_until(11);
    assert_eq!(bench.take_transitions(), []);
    assert_eq!(bench.state(), PortState::Transit);
    assert!(bench.facts().is_dormant());
    assert_eq!(bench.facts().awakenings(Cause::Packet, false), 0);
    bench.read_until(311);
    assert_eq!(bench.state(), PortState::Quiet);
}

#[test]
fn transit_keeps_no_port_awake() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(1);
    for second in 2..=1 + DORMANT_AFTER {
        bench.packet(Protocol::Udp, PASSING[0]);
        bench.read_until(second);
    }
    assert!(bench.facts().is_dormant());
    assert_eq!(bench.state(), PortState::Probed, "it takes precedence");
}
