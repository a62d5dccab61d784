//! States, and what socket calls do.

use super::*;

#[test]
fn states_have_precedence() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Tcp, IN);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(1);
    assert_eq!(bench.state(), PortState::Probed, "the kernel resets where nobody is");
    bench.call(Protocol::Tcp, CallKind::BindRefused);
    assert_eq!(bench.state(), PortState::Attempted);
    bench.packet(Protocol::Tcp, OUT);
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Outbound);
    bench.call(Protocol::Tcp, BIND);
    assert_eq!(bench.state(), PortState::Bound);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(3);
    assert_eq!(bench.state(), PortState::Bound, "a socket that does not listen answers nobody");
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
fn a_state_is_told_when_it_changes() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(400);
    let states: Vec<Change> = bench.told.iter().map(|told| told.change).collect();
    let (from, to) = (PortState::Quiet, PortState::Probed);
    assert!(states.contains(&Change::State { from, to }));
    assert!(states.contains(&Change::State { from: to, to: from }));
    assert_eq!(bench.told.len(), 4, "and once awakened, once dormant");
    assert_eq!(bench.told[2].time, at(61).wall);
    assert_eq!(bench.told[3].time, at(301).wall);
}

#[test]
fn served_ends_when_nobody_answers_any_more() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, BIND);
    bench.packet(Protocol::Udp, REPLY);
    bench.read_until(1);
    assert_eq!(bench.state(), PortState::Served);
    bench.read_until(301);
    assert_eq!(bench.state(), PortState::Bound);
}

#[test]
fn talk_over_loopback_is_not_outbound() {
    let mut bench = Bench::new();
    for place in [IN, OUT, REPLY, ANSWER] {
        bench.packet(Protocol::Tcp, place);
    }
    bench.now = 1;
    bench.read_on(LOOPBACK);
    assert_eq!(bench.state(), PortState::Probed);
}

#[test]
fn answers_from_elsewhere_are_no_probes() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Tcp, OUT);
    bench.read_until(1);
    bench.packet(Protocol::Tcp, ANSWER);
    bench.read_until(100);
    bench.packet(Protocol::Tcp, ANSWER);
    bench.read_until(301);
    assert_eq!(bench.state(), PortState::Quiet, "not probed at 2 or 101");
    bench.packet(Protocol::Tcp, ANSWER);
    bench.read_until(302);
    assert_eq!(bench.state(), PortState::Probed, "nobody had asked");
}

#[test]
fn packets_for_a_holder_are_no_probes() {
    let mut bench = Bench::new();
    bench.read_until(1);
    bench.call(Protocol::Tcp, BIND);
    bench.packet(Protocol::Tcp, IN);
    bench.call(Protocol::Tcp, CallKind::Close);
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Quiet, "it may have been for the socket");
    bench.packet(Protocol::Tcp, IN);
    bench.read_until(3);
    assert_eq!(bench.state(), PortState::Probed);
}

#[test]
fn a_bind_awakens_at_its_own_time() {
    let mut bench = Bench::new();
    bench.read_until(100);
    bench.call(Protocol::Udp, CallKind::Bind { expected: false });
    bench.calls.binds[1][0] += 1;
    bench.read_until(101);
    let told = bench.told();
    assert_eq!(told.len(), 1, "its event and its count are one: {told:?}");
    assert_eq!(slept(&told[0]), 100);
    let facts = bench.facts();
    assert_eq!(facts.awakenings(Cause::Bind), 1);
    assert_eq!(facts.last_bind(Protocol::Udp), Some(at(100).wall));
    assert_eq!(facts.unexpected_binds(Protocol::Udp), 1);
    assert_eq!(facts.unexpected_binds(Protocol::Tcp), 0);
}

/// One that is told behind the reading that counted it is not counted twice, and corrects the time.
#[test]
fn a_bind_without_an_event_is_unexpected_where_nobody_is_expected() {
    let mut bench = Bench::new();
    let unexpected = |bench: &Bench| bench.facts().unexpected_binds(Protocol::Udp);
    let bind = CallKind::Bind { expected: false };
    bench.calls.binds[1][0] += 1;
    bench.read_until(1);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(1).wall));
    let call = SocketCall { at: at(0), port: PORT, protocol: Protocol::Udp, kind: bind };
    bench.ledger.call(&call, &mut bench.told);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(0).wall));
    bench.read_until(3);
    assert_eq!(unexpected(&bench), 1, "told late");
    bench.calls.binds[1][0] += 2;
    bench.call(Protocol::Udp, bind);
    bench.read_until(4);
    assert_eq!(unexpected(&bench), 2, "the other one may still be told");
    bench.read_until(5);
    assert_eq!(unexpected(&bench), 3);
    bench.ledger.watch([Watched { has_owners: true, ..watched(PORT, DORMANT_AFTER) }], at(5));
    bench.calls.binds[1][0] += 1;
    bench.read_until(9);
    assert_eq!(unexpected(&bench), 3, "it may have been who is expected");
}

/// A bind whose event is lost is counted, and its socket found: once is enough.
#[test]
fn an_unexpected_bind_is_counted_or_found() {
    let unexpected = |bench: &Bench| bench.facts().unexpected_binds(Protocol::Tcp);
    let find = |bench: &mut Bench| {
        let held = Held { port: PORT, protocol: Protocol::Tcp, sockets: 1, can_answer: true };
        let found = bench.ledger.holders(at(bench.now), [held], &mut bench.told);
        for found in found {
            bench.ledger.found_unexpected(&found, 1);
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
fn a_bind_while_no_agent_ran_has_its_own_time() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, BIND);
    bench.calls.binds[1][0] += 1;
    bench.read_until(10);
    let mut bench = bench.restart(500, start(500, "one", true));
    bench.calls.binds[1][0] += 1;
    let call = SocketCall { at: at(450), port: PORT, protocol: Protocol::Udp, kind: BIND };
    bench.ledger.call(&call, &mut bench.told);
    bench.read_until(502);
    assert_eq!(bench.facts().last_bind(Protocol::Udp), Some(at(450).wall));
}

#[test]
fn a_refused_bind_awakens_and_binds_nothing() {
    let mut bench = Bench::new();
    bench.read_until(10);
    bench.call(Protocol::Tcp, CallKind::BindRefused);
    assert_eq!(slept(&bench.told()[0]), 10);
    let facts = bench.facts();
    assert_eq!((facts.last_bind(Protocol::Tcp), facts.bound_sockets(Protocol::Tcp)), (None, 0));
}

#[test]
fn a_lost_event_is_known_by_its_count() {
    let mut bench = Bench::new();
    bench.calls.binds[0][0] = 1;
    bench.read_until(1);
    assert_eq!(bench.facts().awakenings(Cause::Bind), 1);
    assert_eq!(bench.facts().last_bind(Protocol::Tcp), Some(at(1).wall));
    bench.calls.binds[0][1] = 1;
    bench.read_until(2);
    assert_eq!(bench.state(), PortState::Attempted);
}

#[test]
fn what_is_told_late_awakens_nobody_twice() {
    let mut bench = Bench::new();
    bench.calls.binds[0][0] = 1;
    bench.read_until(2 * DORMANT_AFTER);
    assert_eq!(bench.told().len(), 2, "awakened by the count, and dormant");
    let late = |at| SocketCall { at, port: PORT, protocol: Protocol::Tcp, kind: BIND };
    bench.ledger.call(&late(at(1)), &mut bench.told);
    bench.ledger.call(&SocketCall { kind: CallKind::Close, ..late(at(1)) }, &mut bench.told);
    bench.read_until(2 * DORMANT_AFTER + 1);
    assert_eq!(bench.told(), []);
}

#[test]
fn a_holder_keeps_it_awake() {
    let mut bench = Bench::new();
    bench.call(Protocol::Udp, BIND);
    bench.read_until(10 * DORMANT_AFTER);
    bench.call(Protocol::Udp, CallKind::Close);
    assert_eq!(bench.told().len(), 1);
    bench.read_until(11 * DORMANT_AFTER - 1);
    assert_eq!(bench.told(), []);
    bench.read_until(11 * DORMANT_AFTER);
    assert_eq!(bench.told(), [Change::Dormant]);
}

#[test]
fn a_socket_that_is_found_open_awakens() {
    let mut bench = Bench::new();
    bench.read_until(50);
    bench.look(Protocol::Tcp, 0, false);
    bench.read_until(100);
    bench.look(Protocol::Tcp, 2, true);
    bench.look(Protocol::Tcp, 2, true);
    assert_eq!(slept(&bench.told()[0]), 50, "nobody held it at the look before");
    let facts = bench.facts();
    assert_eq!((facts.bound_sockets(Protocol::Tcp), facts.state), (2, PortState::Bound));
    assert_eq!(facts.last_bind(Protocol::Tcp), None, "nobody knows when");
    bench.look(Protocol::Tcp, 0, false);
    assert_eq!(bench.state(), PortState::Quiet);
    assert_eq!(bench.told(), []);
}

#[test]
fn a_look_and_the_calls_before_it_are_not_added_up() {
    let mut bench = Bench::new();
    bench.read_until(10);
    bench.look(Protocol::Udp, 1, true);
    bench.call(Protocol::Udp, BIND);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 1);
    bench.now += 1;
    bench.call(Protocol::Udp, BIND);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 2);
    bench.call(Protocol::Udp, CallKind::Close);
    bench.call(Protocol::Udp, CallKind::Close);
    bench.call(Protocol::Udp, CallKind::Close);
    assert_eq!(bench.facts().bound_sockets(Protocol::Udp), 0);
}

#[test]
fn a_socket_closed_that_was_bound_unseen_awakens() {
    let mut bench = Bench::new();
    bench.read_until(100);
    bench.call(Protocol::Tcp, CallKind::Close);
    let told = bench.told();
    assert_eq!(slept(&told[0]), 0, "it may have been held all the time");
    assert_eq!(bench.state(), PortState::Quiet);
}

#[test]
fn holders_outlive_the_agent() {
    let mut bench = Bench::new();
    bench.call(Protocol::Tcp, BIND);
    bench.call(Protocol::Tcp, CallKind::Listen);
    bench.read_until(10);
    let mut bench = bench.restart(500, start(500, "one", true));
    assert_eq!(bench.facts().bound_sockets(Protocol::Tcp), 1);
    bench.read_until(501 + DORMANT_AFTER);
    assert!(!bench.facts().is_dormant());
    bench.look(Protocol::Tcp, 0, false);
    bench.read_until(502 + 2 * DORMANT_AFTER);
    assert_eq!(bench.told(), [Change::Dormant]);
}

/// A look takes its time, and a socket may come or go meanwhile.
#[test]
fn a_look_does_not_undo_what_happened_since_it_began() {
    let mut bench = Bench::new();
    bench.read_until(10);
    let began = at(bench.now);
    bench.read_until(11);
    bench.call(Protocol::Tcp, BIND);
    bench.ledger.holders(began, None, &mut bench.told);
    assert_eq!(bench.state(), PortState::Bound, "it was bound after the look had gone by");

    let held = Held { port: PORT, protocol: Protocol::Tcp, sockets: 1, can_answer: false };
    let began = at(bench.now);
    bench.read_until(12);
    bench.call(Protocol::Tcp, CallKind::Close);
    bench.ledger.holders(began, [held], &mut bench.told);
    assert_eq!(bench.facts().bound_sockets(Protocol::Tcp), 0, "it was seen, and closed since");

    bench.look(Protocol::Tcp, 1, false);
    assert_eq!(bench.state(), PortState::Bound, "the next look knows");
}

#[test]
fn a_wake_says_what_it_was() {
    let text = |evidence| Wake::Bind { protocol: Protocol::Tcp, evidence }.to_string();
    assert_eq!(text(BindEvidence::Bound), "tcp bind");
    let packet =
        Wake::Packet { protocol: Protocol::Udp, direction: Direction::Ingress, side: Side::Local };
    assert_eq!(
        (packet.to_string().as_str(), packet.cause()),
        ("udp packet to the port", Cause::Packet)
    );
}
