//! Owners that the configuration expects.

use super::*;

/// Awakenings by binds: of expected owners, and of others.
fn awakenings(bench: &Bench) -> (u64, u64) {
    let of = |expected| bench.facts().awakenings(Cause::Bind, expected);
    (of(true), of(false))
}

/// A ledger that watches a port for which the configuration has owners.
fn bench_with_owners() -> Bench {
    let mut bench = Bench::new();
    bench.ledger.watch([Watched { has_owners: true, ..watched(PORT, DORMANT_AFTER) }], at(0));
    bench
}

fn unexpected_sockets(bench: &Bench, protocol: Protocol) -> u32 {
    bench.facts().unexpected_sockets(protocol)
}

fn expectation(change: &Change) -> Option<bool> {
    match change {
        Change::Awakened { wake, .. } => wake.expected(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn marks_awakenings_by_calls_of_expected_owners() {
    for kind in [CallKind::Bind, CallKind::BindRefused, CallKind::Listen, CallKind::Close] {
        for expected in [false, true] {
            let mut bench = bench_with_owners();
            bench.call_of(Protocol::Tcp, kind, expected);
            let changes = bench.take_transitions();
            assert_eq!(changes.iter().map(expectation).collect::<Vec<_>>(), [Some(expected)]);
            let counts = if expected { (1, 0) } else { (0, 1) };
            assert_eq!(awakenings(&bench), counts, "{kind:?}");
        }
    }
}

#[test]
fn packets_and_binds_of_unknown_callers_are_not_expected() {
    let mut bench = bench_with_owners();
    bench.packet(Protocol::Udp, IN);
    bench.read_until(1);
    assert_eq!(expectation(&bench.take_transitions()[0]), None);
    assert_eq!(bench.facts().awakenings(Cause::Packet, false), 1);
    for (mut bench, expected) in [(bench_with_owners(), None), (Bench::new(), Some(false))] {
        bench.calls.binds[0][0] = 1;
        bench.read_until(1);
        assert_eq!(expectation(&bench.take_transitions()[0]), expected);
        assert_eq!(awakenings(&bench), (0, 1));
    }
}

#[test]
fn marks_awakenings_by_holders_that_a_scan_finds() {
    let cases =
        [((2, 0), Some(true)), ((1, 1), Some(false)), ((0, 1), Some(false)), ((1, 0), None)];
    for ((expected, unexpected), of_all) in cases {
        let mut bench = bench_with_owners();
        bench.find(Some(Held { sockets: 2, expected, unexpected, ..listener(Protocol::Tcp) }));
        assert_eq!(expectation(&bench.take_transitions()[0]), of_all);
        assert_eq!(unexpected_sockets(&bench, Protocol::Tcp), 2 - expected);
        let counts = if of_all == Some(true) { (1, 0) } else { (0, 1) };
        assert_eq!(awakenings(&bench), counts);
    }
}

#[test]
fn counts_sockets_of_other_owners_by_calls_until_the_next_scan() {
    let mut bench = bench_with_owners();
    bench.call_of(Protocol::Udp, CallKind::Bind, true);
    assert_eq!(unexpected_sockets(&bench, Protocol::Udp), 0);
    bench.call_of(Protocol::Udp, CallKind::Bind, false);
    assert_eq!(unexpected_sockets(&bench, Protocol::Udp), 1);
    bench.call_of(Protocol::Udp, CallKind::Close, true);
    assert_eq!(unexpected_sockets(&bench, Protocol::Udp), 1, "the other one is still open");
    bench.call_of(Protocol::Udp, CallKind::Close, false);
    assert_eq!(unexpected_sockets(&bench, Protocol::Udp), 0);
    bench.call_of(Protocol::Tcp, CallKind::Listen, false);
    assert_eq!(unexpected_sockets(&bench, Protocol::Tcp), 1, "its bind was not observed");
    bench.now += 1;
    bench.find(Some(Held { expected: 1, unexpected: 0, ..listener(Protocol::Tcp) }));
    assert_eq!(unexpected_sockets(&bench, Protocol::Tcp), 0);
}

#[test]
fn reports_a_port_whose_holders_are_no_longer_all_expected_once() {
    let mut bench = bench_with_owners();
    let mut find = |unexpected| {
        bench.now += 1;
        let expected = 2 - unexpected;
        let held = [Held { sockets: 2, expected, unexpected, ..listener(Protocol::Tcp) }];
        let found = bench.ledger.record_holders(at(bench.now), held, &mut bench.transitions);
        found.len()
    };
    assert_eq!([find(0), find(0), find(1), find(1), find(2), find(0)], [1, 0, 1, 0, 0, 0]);
}

/// A process may have been another's, or another user's, when it bound the port.
#[test]
fn reports_no_holder_that_the_first_scan_after_its_bind_or_a_restart_does_not_expect() {
    let mut bench = bench_with_owners();
    bench.call_of(Protocol::Tcp, CallKind::Bind, true);
    let find = |bench: &mut Bench, held| {
        bench.now += 1;
        bench.ledger.record_holders(at(bench.now), [held], &mut bench.transitions).len()
    };
    let expected = Held { expected: 1, unexpected: 0, ..listener(Protocol::Tcp) };
    assert_eq!(find(&mut bench, listener(Protocol::Tcp)), 0);
    assert_eq!(find(&mut bench, expected), 0);
    let mut bench = bench.restart(10, start(10, "one", true));
    assert_eq!(find(&mut bench, listener(Protocol::Tcp)), 0);
    assert_eq!(unexpected_sockets(&bench, Protocol::Tcp), 1);
}

#[test]
fn knows_whether_expected_owners_alone_hold_the_port() {
    let mut bench = bench_with_owners();
    let is_so = |bench: &Bench| bench.facts().is_held_by_expected_owners_alone();
    assert!(!is_so(&bench), "nothing holds it");
    bench.call_of(Protocol::Udp, CallKind::Bind, true);
    assert!(is_so(&bench));
    bench.call_of(Protocol::Tcp, CallKind::Bind, false);
    assert!(!is_so(&bench), "another owner beside it");
}

#[test]
fn counts_outlive_the_agent() {
    let mut bench = bench_with_owners();
    bench.call_of(Protocol::Tcp, CallKind::Bind, true);
    bench.call_of(Protocol::Tcp, CallKind::Bind, false);
    let bench = bench.restart(10, start(10, "one", true));
    assert_eq!(awakenings(&bench), (1, 0));
    assert_eq!(unexpected_sockets(&bench, Protocol::Tcp), 1);
}

#[test]
fn awakenings_that_an_earlier_version_saved_are_not_expected() {
    let json = r#"{"active_at_ns": 5, "awakenings": [3, 7]}"#;
    let history: history::History = serde_json::from_str(json).expect("a history");
    assert_eq!(history.awakenings.get(Cause::Packet, false), 3);
    assert_eq!(history.awakenings.get(Cause::Bind, false), 7);
    assert_eq!(history.awakenings.get(Cause::Bind, true), 0);
}
