//! Answers from a port that no socket of this host holds.

use super::*;

const ANSWERED: fn(Protocol, u64, bool) -> Change =
    |protocol, answers, is_new| Change::Answered { protocol, answers, is_new };

/// A request and its answer, read a second later.
fn exchange(bench: &mut Bench, protocol: Protocol) {
    bench.packet(protocol, IN);
    bench.answer(protocol);
    bench.read_until(bench.now + 1);
}

fn suspected(bench: &Bench) -> Vec<(u16, Protocol)> {
    bench.ledger.suspected_answers().collect()
}

#[test]
fn a_scan_without_a_socket_confirms_answers() {
    for protocol in Protocol::COMMON {
        let mut bench = Bench::new();
        exchange(&mut bench, protocol);
        bench.take_transitions();
        assert_eq!(suspected(&bench), [(PORT, protocol)]);
        assert_eq!(bench.state(), PortState::Probed, "not before the scan");
        bench.now += 1;
        bench.scan(protocol, 0, false);
        assert_eq!(bench.take_transitions(), [ANSWERED(protocol, 1, true)]);
        assert_eq!(bench.state(), PortState::Answered);
        assert_eq!(bench.facts().answers_without_socket(protocol), 1);
        assert_eq!(suspected(&bench), []);
        exchange(&mut bench, protocol);
        bench.now += 1;
        bench.scan(protocol, 0, false);
        assert_eq!(bench.take_transitions(), [ANSWERED(protocol, 1, false)]);
        bench.read_until(bench.now + 300);
        assert_ne!(bench.state(), PortState::Answered);
    }
}

#[test]
fn a_scan_that_finds_a_socket_takes_the_answers_for_its_own() {
    for protocol in Protocol::COMMON {
        let mut bench = Bench::new();
        exchange(&mut bench, protocol);
        bench.now += 1;
        bench.scan(protocol, 1, true);
        assert_eq!(suspected(&bench), []);
        assert_eq!(bench.facts().answers_without_socket(protocol), 0);
        assert_eq!(bench.state(), PortState::Served);
        bench.read_until(bench.now + 300);
        assert_eq!(bench.state(), PortState::Bound, "there were no more answers");
    }
}

/// What a scan finds of a connection that a transparent proxy has accepted.
const CONNECTION: Held = Held { can_accept: false, ..listener(Protocol::Tcp) };

#[test]
fn a_connection_without_a_listener_does_not_explain_its_own_beginning() {
    let mut bench = Bench::new();
    exchange(&mut bench, Protocol::Tcp);
    bench.now += 1;
    bench.take_transitions();
    bench.find(Some(CONNECTION));
    assert_eq!(bench.take_transitions(), [ANSWERED(Protocol::Tcp, 1, true)]);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(bench.now + 1);
    assert_eq!(bench.state(), PortState::Answered, "while the connection lasts");
    exchange(&mut bench, Protocol::Tcp);
    assert_eq!(suspected(&bench), [(PORT, Protocol::Tcp)]);
}

#[test]
fn a_connection_of_a_listener_that_was_closed_is_no_answer() {
    let mut bench = Bench::new();
    bench.call(Protocol::Tcp, CallKind::Bind);
    bench.call(Protocol::Tcp, CallKind::Listen);
    exchange(&mut bench, Protocol::Tcp);
    bench.call(Protocol::Tcp, CallKind::Close);
    bench.find(Some(CONNECTION));
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(bench.now + 20);
    assert_eq!(suspected(&bench), []);
    assert_eq!(bench.state(), PortState::Served);
}

#[test]
fn a_scan_that_began_before_the_answers_decides_nothing() {
    let mut bench = Bench::new();
    exchange(&mut bench, Protocol::Tcp);
    bench.now -= 1;
    bench.scan(Protocol::Tcp, 0, false);
    bench.now += 1;
    assert_eq!(suspected(&bench), [(PORT, Protocol::Tcp)]);
}

#[test]
fn a_socket_that_was_just_closed_explains_answers() {
    let mut bench = Bench::new();
    bench.call(Protocol::Tcp, CallKind::Bind);
    bench.call(Protocol::Tcp, CallKind::Listen);
    exchange(&mut bench, Protocol::Tcp);
    bench.call(Protocol::Tcp, CallKind::Close);
    exchange(&mut bench, Protocol::Tcp);
    exchange(&mut bench, Protocol::Tcp);
    assert_eq!(suspected(&bench), []);
    bench.read_until(bench.now + 10);
    exchange(&mut bench, Protocol::Tcp);
    assert_eq!(suspected(&bench), [(PORT, Protocol::Tcp)]);
}

#[test]
fn answers_that_are_dismissed_are_not_confirmed() {
    let mut bench = Bench::new();
    exchange(&mut bench, Protocol::Udp);
    bench.now += 1;
    bench.ledger.dismiss_answers(PORT, Protocol::Udp);
    bench.scan(Protocol::Udp, 0, false);
    assert_eq!(bench.facts().answers_without_socket(Protocol::Udp), 0);
    assert_eq!(bench.state(), PortState::Probed);
}

#[test]
fn datagrams_without_a_request_are_no_answers() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Udp, REPLY);
    bench.read_until(1);
    assert_eq!(suspected(&bench), []);
}

#[test]
fn a_reset_is_no_answer() {
    let mut bench = Bench::new();
    bench.packet(Protocol::Tcp, IN);
    bench.packet(Protocol::Tcp, REPLY);
    bench.read_until(1);
    assert_eq!(suspected(&bench), []);
}
