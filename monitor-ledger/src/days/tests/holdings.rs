//! Who held a port, by calls and scans.

use super::*;

fn holder(pid: u32) -> Holder {
    Holder { pid, executable: Some("/usr/bin/ncat".into()), ..Holder::default() }
}

fn chronicle() -> Chronicle {
    Chronicle::new(&start(NOON, 0, "0", false), 7)
}

fn scan(chronicle: &mut Chronicle, second: i64, pids: &[u32]) {
    let found = pids.iter().map(|pid| (Protocol::Tcp, 2948, holder(*pid)));
    chronicle.scanned(at(NOON + second, second as u64 * SECOND), found.collect::<Vec<_>>());
}

fn bind(chronicle: &mut Chronicle, second: i64, pid: u32) {
    let at = at(NOON + second, second as u64 * SECOND);
    chronicle.holds(2948, Protocol::Tcp, holder(pid), (at.wall, at.boottime_ns));
}

/// Process, begin and end in seconds, and how these are known.
type Shown = (u32, i64, Known, Option<(i64, Known)>);

fn shown(changes: &ChronicleChanges) -> Vec<Shown> {
    let second = |time: Timestamp| time.as_second() - NOON;
    let each = changes.holdings.values().map(|held| {
        let until = held.until.map(second).zip(held.until_by);
        (held.holder.pid, second(held.since), held.since_by, until)
    });
    each.collect()
}

#[test]
fn calls_have_the_moment_and_scans_what_they_missed() {
    let mut chronicle = chronicle();
    scan(&mut chronicle, 0, &[1]);
    bind(&mut chronicle, 3, 2);
    scan(&mut chronicle, 5, &[1, 2, 3]);
    chronicle.released(2948, Protocol::Tcp, &holder(2), (at(NOON + 7, 0).wall, false));
    scan(&mut chronicle, 10, &[3]);
    let expected = [
        (1, 0, Known::Gap, Some((10, Known::Scan))),
        (2, 3, Known::Call, Some((7, Known::Call))),
        (3, 5, Known::Scan, None),
    ];
    assert_eq!(shown(&chronicle.take_changes()), expected);
}

#[test]
fn a_scan_that_began_before_a_bind_does_not_end_it() {
    let mut chronicle = chronicle();
    bind(&mut chronicle, 6, 2);
    scan(&mut chronicle, 5, &[]);
    assert_eq!(shown(&chronicle.take_changes()), [(2, 6, Known::Call, None)]);
}

#[test]
fn a_process_that_keeps_another_socket_still_holds() {
    let mut chronicle = chronicle();
    bind(&mut chronicle, 1, 2);
    chronicle.released(2948, Protocol::Tcp, &holder(2), (at(NOON + 2, 0).wall, false));
    scan(&mut chronicle, 5, &[2]);
    scan(&mut chronicle, 9, &[]);
    let changes = chronicle.take_changes();
    assert_eq!(shown(&changes), [(2, 1, Known::Call, Some((9, Known::Scan)))]);
}

#[test]
fn the_last_close_of_a_port_ends_a_holding_without_a_scan() {
    let mut chronicle = chronicle();
    bind(&mut chronicle, 1, 2);
    chronicle.released(2948, Protocol::Tcp, &holder(2), (at(NOON + 2, 0).wall, true));
    let changes = chronicle.take_changes();
    assert_eq!(shown(&changes), [(2, 1, Known::Call, Some((2, Known::Call)))]);
}

#[test]
fn a_holder_that_ended_while_no_agent_ran_ends_at_the_last_look() {
    let mut before = chronicle();
    bind(&mut before, 1, 2);
    bind(&mut before, 1, 3);
    before.begin_reading(at(NOON + 20, 20 * SECOND));
    let changes = before.take_changes();
    let start = start(NOON + 500, 500 * SECOND, "0", true);
    let mut after =
        Chronicle::resume(changes.chronicle, changes.cursors, changes.holdings, [], &start, 7);
    scan(&mut after, 501, &[3]);
    let changes = after.take_changes();
    assert_eq!(shown(&changes), [(2, 1, Known::Call, Some((20, Known::Gap)))]);
    assert_eq!(changes.gaps.len(), 1, "and the time between is a gap");
}

#[test]
fn processes_that_bind_in_a_loop_are_counted_beyond_what_is_kept() {
    let mut chronicle = chronicle();
    (0..1000).for_each(|pid| bind(&mut chronicle, 1, pid));
    let changes = chronicle.take_changes();
    assert_eq!(changes.holdings.len(), 64);
    let unkept: u64 = changes.host.values().map(|host| host.unkept).sum();
    assert_eq!(unkept, 936);
}
