//! UDP-Lite and SCTP.

use monitor_common::rare::{RareCounters, RareSocketCounters};

use super::*;

/// A reading with these counters of a rare protocol.
fn read(bench: &mut Bench, protocol: Protocol, counters: &RareCounters) {
    bench.now += 1;
    let mut reading = bench.ledger.begin_reading(at(bench.now), &mut bench.transitions);
    reading.traffic(ETHERNET, PORT, &bench.counters);
    reading.rare_traffic(ETHERNET, PORT, protocol, counters);
    reading.finish();
}

fn add(counters: &mut RareCounters, (direction, side): (Direction, Side)) {
    counters.traffic[direction as usize][side as usize].packets += 1;
}

#[test]
fn a_packet_to_this_host_awakens() {
    for protocol in Protocol::RARE {
        let mut bench = Bench::new();
        assert!(!bench.facts().has_seen(protocol));
        let mut counters = RareCounters::ZERO;
        add(&mut counters, IN);
        read(&mut bench, protocol, &counters);
        let (direction, side) = IN;
        let changes = bench.take_transitions();
        let expected = Wake::Packet { protocol, direction, side };
        assert!(
            matches!(changes[..], [Change::Awakened { wake, .. }] if wake == expected),
            "{changes:?}"
        );
        assert_eq!(bench.state(), PortState::Probed);
        assert!(bench.facts().has_seen(protocol));
        assert_eq!(bench.facts().last_packet(Protocol::Udp), None);
    }
}

#[test]
fn only_a_flow_that_this_host_begins_is_outbound() {
    for protocol in Protocol::RARE {
        let mut bench = Bench::new();
        let mut counters = RareCounters::ZERO;
        add(&mut counters, OUT);
        add(&mut counters, (Direction::Ingress, Side::Remote));
        read(&mut bench, protocol, &counters);
        assert_eq!((bench.state(), bench.take_transitions().len()), (PortState::Quiet, 0));
        counters.begun += 1;
        read(&mut bench, protocol, &counters);
        assert_eq!((bench.state(), bench.take_transitions().len()), (PortState::Outbound, 1));
    }
}

#[test]
fn a_packet_that_passes_is_transit() {
    let mut bench = Bench::new();
    let mut counters = RareCounters::ZERO;
    add(&mut counters, (Direction::Egress, Side::Transit));
    read(&mut bench, Protocol::Sctp, &counters);
    assert_eq!((bench.state(), bench.take_transitions().len()), (PortState::Transit, 0));
}

#[test]
fn an_association_that_is_accepted_without_a_socket_is_answered() {
    let mut bench = Bench::new();
    let mut counters = RareCounters::ZERO;
    add(&mut counters, IN);
    // The kernel's own refusal.
    add(&mut counters, REPLY);
    read(&mut bench, Protocol::Sctp, &counters);
    assert_eq!(bench.ledger.suspected_answers().count(), 0);
    add(&mut counters, REPLY);
    counters.accepted += 1;
    read(&mut bench, Protocol::Sctp, &counters);
    let suspects: Vec<(u16, Protocol)> = bench.ledger.suspected_answers().collect();
    assert_eq!(suspects, [(PORT, Protocol::Sctp)]);
    bench.now += 1;
    bench.scan(Protocol::Sctp, 0, false);
    assert_eq!(bench.state(), PortState::Answered);
}

#[test]
fn a_socket_is_bound_and_serves() {
    for protocol in Protocol::RARE {
        let mut bench = Bench::new();
        bench.call(protocol, CallKind::Bind);
        assert_eq!(bench.state(), PortState::Bound);
        if protocol == Protocol::Sctp {
            bench.call(protocol, CallKind::Listen);
        }
        let mut counters = RareCounters::ZERO;
        add(&mut counters, IN);
        add(&mut counters, REPLY);
        read(&mut bench, protocol, &counters);
        assert_eq!(bench.state(), PortState::Served);
        bench.call(protocol, CallKind::Close);
        assert_eq!(bench.facts().bound_sockets(protocol), 0);
    }
}

#[test]
fn a_bind_without_an_event_is_known_by_its_count() {
    let mut bench = Bench::new();
    let counters = RareSocketCounters { binds: [1, 0, 0, 0], ..RareSocketCounters::ZERO };
    let mut reading = bench.ledger.begin_reading(at(1), &mut bench.transitions);
    reading.rare_sockets(PORT, Protocol::UdpLite, &counters);
    reading.finish();
    let changes = bench.take_transitions();
    let (protocol, evidence) = (Protocol::UdpLite, BindEvidence::Counted);
    let expected = Wake::Bind { protocol, evidence, expected: Some(false) };
    assert!(
        matches!(changes[..], [Change::Awakened { wake, .. }] if wake == expected),
        "{changes:?}"
    );
    assert_eq!(bench.facts().last_bind(Protocol::UdpLite), Some(at(1).wall));
}

#[test]
fn counts_survive_a_restart_of_the_agent() {
    let mut bench = Bench::new();
    let mut counters = RareCounters::ZERO;
    add(&mut counters, IN);
    read(&mut bench, Protocol::Sctp, &counters);
    let now = bench.now;
    let mut bench = bench.restart(now + 5, start(now + 5, "one", true));
    let before = bench.facts().last_packet(Protocol::Sctp);
    read(&mut bench, Protocol::Sctp, &counters);
    assert_eq!(bench.facts().last_packet(Protocol::Sctp), before, "nothing is new");
    add(&mut counters, IN);
    read(&mut bench, Protocol::Sctp, &counters);
    assert!(bench.facts().last_packet(Protocol::Sctp) > before);
}
