//! States, and what socket calls do.

use super::*;

#[test]
fn states_take_precedence_in_order() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Tcp, IN);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(1);
    assert_eq!(
        bench.state(),
        PortState::Probed,
        "without a socket the kernel answers with a reset"
    );
    bench.call(Protocol::Tcp, CallKind::BindRefused);
    assert_eq!(bench.state(), PortState::Attempted);
    bench.begin(Protocol::Tcp);
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Outbound);
    bench.call(Protocol::Tcp, CallKind::Bind);
    assert_eq!(bench.state(), PortState::Bound);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(3);
    assert_eq!(bench.state(), PortState::Bound, "a socket that does not listen cannot answer");
    bench.call(Protocol::Tcp, CallKind::Listen);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(4);
    assert_eq!(bench.state(), PortState::Served);
    bench.call(Protocol::Tcp, CallKind::Close);
    assert_eq!(bench.state(), PortState::Outbound, "the highest of the last minutes");
    bench.read_until(301);
    assert_eq!(bench.state(), PortState::Outbound);
    bench.read_until(302);
    assert_eq!(bench.state(), PortState::Quiet, "attempted and probed are older");
    let states: Vec<PortState> = PortState::ALL.to_vec();
    assert!(states.is_sorted());
}

#[test]
fn emits_a_state_when_it_changes() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(400);
    let states: Vec<Change> =
        bench.transitions.iter().map(|transition| transition.change).collect();
    let (from, to) = (PortState::Quiet, PortState::Probed);
    assert!(states.contains(&Change::State { from, to }));
    assert!(states.contains(&Change::State { from: to, to: from }));
    assert_eq!(bench.transitions.len(), 4, "and once awakened, once dormant");
    assert_eq!(bench.transitions[2].time, at(61).wall);
    assert_eq!(bench.transitions[3].time, at(301).wall);
}

#[test]
fn served_expires_without_answers() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, CallKind::Bind);
    bench.packet(Protocol::Udp, REPLY);
    bench.read_until(1);
    assert_eq!(bench.state(), PortState::Served);
    bench.read_until(301);
    assert_eq!(bench.state(), PortState::Bound);
}

#[test]
fn packets_to_a_holder_are_not_probes() {
    let mut bench = Bench::new();
    bench.read_until(1);
    bench.call(Protocol::Tcp, CallKind::Bind);
    bench.packet(Protocol::Tcp, IN);
    bench.call(Protocol::Tcp, CallKind::Close);
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Quiet, "it may have been for the socket");
    bench.packet(Protocol::Tcp, IN);
    bench.read_until(3);
    assert_eq!(bench.state(), PortState::Probed);
}

#[test]
fn awakens_at_the_time_of_a_bind() {
    let mut bench = Bench::new();
    bench.read_until(100);
    bench.call_of(Protocol::Udp, CallKind::Bind, false);
    bench.calls.binds[1][0] += 1;
    bench.read_until(101);
    let changes = bench.take_transitions();
    assert_eq!(changes.len(), 1, "its event and its count are one: {changes:?}");
    assert_eq!(dormant_seconds(&changes[0]), 100);
    let facts = bench.facts();
    assert_eq!(facts.awakenings(Cause::Bind, false), 1);
    assert_eq!(facts.last_bind(Protocol::Udp), Some(at(100).wall));
    assert_eq!(facts.unexpected_binds(Protocol::Udp), 1);
    assert_eq!(facts.unexpected_binds(Protocol::Tcp), 0);
}

/// An event after the reading that counted its bind is not counted twice, and corrects the time.
#[test]
fn counts_a_bind_without_event_as_unexpected_without_owners() {
    let mut bench = Bench::new();
    let unexpected = |bench: &Bench| bench.facts().unexpected_binds(Protocol::Udp);
    bench.calls.binds[1][0] += 1;
    bench.read_until(1);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(1).wall));
    let (port, protocol) = (PORT, Protocol::Udp);
    let call = SocketCall { at: at(0), port, protocol, kind: CallKind::Bind, expected: false };
    bench.ledger.record_call(&call, &mut bench.transitions);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(0).wall));
    bench.read_until(3);
    assert_eq!(unexpected(&bench), 1, "reported late");
    bench.calls.binds[1][0] += 2;
    bench.call_of(Protocol::Udp, CallKind::Bind, false);
    bench.read_until(4);
    assert_eq!(unexpected(&bench), 2, "the event of the other one may still arrive");
    bench.read_until(5);
    assert_eq!(unexpected(&bench), 3);
    bench.ledger.watch([Watched { has_owners: true, ..watched(PORT, DORMANT_AFTER) }], at(5));
    bench.calls.binds[1][0] += 1;
    bench.read_until(9);
    assert_eq!(unexpected(&bench), 3, "it may have been who is expected");
}

/// A sum of calls is as good as an event for each: nothing of it counts as lost, or twice.
#[test]
fn a_sum_of_calls_counts_as_often_as_it_says() {
    let mut bench = Bench::new();
    let call =
        |kind| SocketCall { at: at(0), port: PORT, protocol: Protocol::Udp, kind, expected: false };
    bench.calls.binds[1][0] += 70_000;
    bench.ledger.record_calls(&call(CallKind::Bind), 70_000, &mut bench.transitions);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 70_000);
    bench.ledger.record_calls(&call(CallKind::Close), 69_999, &mut bench.transitions);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 1);
    bench.read_until(5);
    assert_eq!(bench.facts().unexpected_binds(Protocol::Udp), 70_000);
    assert_eq!(bench.facts().awakenings(Cause::Bind, false), 1);
}

/// A bind whose event is lost is counted, and its socket found: once is enough.
#[test]
fn counts_an_unexpected_bind_once_by_counter_or_scan() {
    let unexpected = |bench: &Bench| bench.facts().unexpected_binds(Protocol::Tcp);
    let find = |bench: &mut Bench| {
        let held = [listener(Protocol::Tcp)];
        let found = bench.ledger.record_holders(at(bench.now), held, &mut bench.transitions);
        for found in found {
            bench.ledger.count_unexpected_binds(&found, 1);
        }
    };
    for (counted_at, found_at) in [(Some(1), 9), (Some(3), 4), (Some(9), 4), (None, 4)] {
        let mut bench = Bench::new();
        for second in 2..20 {
            bench.calls.binds[0][0] += u64::from(counted_at == Some(second - 1));
            bench.read_until(second);
            if second == found_at {
                find(&mut bench);
            }
        }
        let times = if counted_at == Some(9) { 2 } else { 1 };
        assert_eq!(unexpected(&bench), times, "counted at {counted_at:?}, found at {found_at}");
    }
}

#[test]
fn keeps_the_time_of_a_bind_during_a_gap() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, CallKind::Bind);
    bench.calls.binds[1][0] += 1;
    bench.read_until(10);
    let mut bench = bench.restart(500, start(500, "one", true));
    bench.calls.binds[1][0] += 1;
    let (port, protocol) = (PORT, Protocol::Udp);
    let call = SocketCall { at: at(450), port, protocol, kind: CallKind::Bind, expected: true };
    bench.ledger.record_call(&call, &mut bench.transitions);
    bench.read_until(502);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(450).wall));
}

#[test]
fn awakens_on_a_refused_bind_without_a_holder() {
    let mut bench = Bench::new();
    bench.read_until(10);
    bench.call(Protocol::Tcp, CallKind::BindRefused);
    assert_eq!(dormant_seconds(&bench.take_transitions()[0]), 10);
    let facts = bench.facts();
    assert_eq!((facts.last_bind(Protocol::Tcp), facts.bound_sockets(Protocol::Tcp)), (None, 0));
}

#[test]
fn awakens_on_a_counted_bind_whose_event_was_lost() {
    let mut bench = Bench::new();
    bench.calls.binds[0][0] = 1;
    bench.read_until(1);
    assert_eq!(bench.facts().awakenings(Cause::Bind, false), 1);
    assert_eq!(bench.facts().last_bind(Protocol::Tcp), Some(at(1).wall));
    bench.calls.binds[0][1] = 1;
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Attempted);
}

#[test]
fn does_not_awaken_twice_on_a_late_event() {
    let mut bench = Bench::new();
    bench.calls.binds[0][0] = 1;
    bench.read_until(2 * DORMANT_AFTER);
    assert_eq!(bench.take_transitions().len(), 2, "awakened by the count, and dormant");
    let (port, protocol) = (PORT, Protocol::Tcp);
    let late = |at| SocketCall { at, port, protocol, kind: CallKind::Bind, expected: false };
    bench.ledger.record_call(&late(at(1)), &mut bench.transitions);
    bench
        .ledger
        .record_call(&SocketCall { kind: CallKind::Close, ..late(at(1)) }, &mut bench.transitions);
    bench.read_until(2 * DORMANT_AFTER + 1);
    assert_eq!(bench.take_transitions(), []);
}

#[test]
fn stays_active_while_held() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, CallKind::Bind);
    bench.read_until(10 * DORMANT_AFTER);
    bench.call(Protocol::Udp, CallKind::Close);
    assert_eq!(bench.take_transitions().len(), 1);
    bench.read_until(11 * DORMANT_AFTER - 1);
    assert_eq!(bench.take_transitions(), []);
    bench.read_until(11 * DORMANT_AFTER);
    assert_eq!(bench.take_transitions(), [Change::Dormant]);
}

#[test]
fn awakens_on_a_socket_found_by_a_scan() {
    let mut bench = Bench::new();
    bench.read_until(50);
    bench.scan(Protocol::Tcp, 0, false);
    bench.read_until(100);
    bench.scan(Protocol::Tcp, 2, true);
    bench.scan(Protocol::Tcp, 2, true);
    assert_eq!(
        dormant_seconds(&bench.take_transitions()[0]),
        50,
        "it had no holder at the previous scan"
    );
    let facts = bench.facts();
    assert_eq!((facts.bound_sockets(Protocol::Tcp), facts.state), (2, PortState::Bound));
    assert_eq!(facts.last_bind(Protocol::Tcp), None, "the time is unknown");
    bench.scan(Protocol::Tcp, 0, false);
    assert_eq!(bench.state(), PortState::Quiet);
    assert_eq!(bench.take_transitions(), []);
}

#[test]
fn does_not_count_sockets_twice_by_calls_and_scan() {
    let mut bench = Bench::new();
    bench.read_until(10);
    bench.scan(Protocol::Udp, 1, true);
    bench.call(Protocol::Udp, CallKind::Bind);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 1);
    bench.now += 1;
    bench.call(Protocol::Udp, CallKind::Bind);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 2);
    bench.call(Protocol::Udp, CallKind::Close);
    bench.call(Protocol::Udp, CallKind::Close);
    bench.call(Protocol::Udp, CallKind::Close);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 0);
}

#[test]
fn a_socket_closed_that_is_unobserved_bind_awakens() {
    let mut bench = Bench::new();
    bench.read_until(100);
    bench.call(Protocol::Tcp, CallKind::Close);
    let changes = bench.take_transitions();
    assert_eq!(dormant_seconds(&changes[0]), 0, "it may have been held all the time");
    assert_eq!(bench.state(), PortState::Quiet);
}

#[test]
fn keeps_holders_over_a_restart() {
    let mut bench = Bench::new();
    bench.call(Protocol::Tcp, CallKind::Bind);
    bench.call(Protocol::Tcp, CallKind::Listen);
    bench.read_until(10);
    let mut bench = bench.restart(500, start(500, "one", true));
    assert_eq!(bench.facts().bound_sockets(Protocol::Tcp), 1);
    bench.read_until(501 + DORMANT_AFTER);
    assert!(!bench.facts().is_dormant());
    bench.scan(Protocol::Tcp, 0, false);
    bench.read_until(502 + 2 * DORMANT_AFTER);
    assert_eq!(bench.take_transitions(), [Change::Dormant]);
}

/// A look takes its time, and a socket may come or go meanwhile.
#[test]
fn ignores_a_scan_for_ports_with_later_calls() {
    let mut bench = Bench::new();
    bench.read_until(10);
    let began = at(bench.now);
    bench.read_until(11);
    bench.call(Protocol::Tcp, CallKind::Bind);
    bench.ledger.record_holders(began, None, &mut bench.transitions);
    assert_eq!(bench.state(), PortState::Bound, "it was bound after the look had gone by");

    let held = Held { can_answer: false, ..listener(Protocol::Tcp) };
    let began = at(bench.now);
    bench.read_until(12);
    bench.call(Protocol::Tcp, CallKind::Close);
    bench.ledger.record_holders(began, [held], &mut bench.transitions);
    assert_eq!(bench.facts().bound_sockets(Protocol::Tcp), 0, "it was seen, and closed since");

    bench.scan(Protocol::Tcp, 1, false);
    assert_eq!(bench.state(), PortState::Bound, "the next look knows");
}

#[test]
fn describes_each_wake() {
    let text =
        |evidence| Wake::Bind { protocol: Protocol::Tcp, evidence, expected: None }.to_string();
    assert_eq!(text(BindEvidence::Bound), "tcp bind");
    let packet =
        Wake::Packet { protocol: Protocol::Udp, direction: Direction::Ingress, side: Side::Local };
    assert_eq!(
        (packet.to_string().as_str(), packet.cause()),
        ("udp packet to the port", Cause::Packet)
    );
}
