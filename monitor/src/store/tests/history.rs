//! The history by day.

use std::collections::BTreeMap;

use monitor_common::flow::{PortCounters, Protocol, Traffic};
use monitor_ledger::{
    PortState,
    days::{Chronicle, Day, Holder, HostDay},
};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn reading(second: i64) -> ClockReading {
    let boottime_ns = (second - 1_700_000_000) as u64 * SECOND + SECOND;
    ClockReading { wall: at(second), boottime_ns }
}

fn read_packets(chronicle: &mut Chronicle, second: i64, packets: u64) {
    chronicle.begin_reading(reading(second));
    let mut counters = PortCounters::default();
    counters.traffic[1][0][0] = Traffic { packets, bytes: packets * 60 };
    chronicle.traffic(2, true, 2948, &counters);
    chronicle.state(2948, PortState::Probed, false);
    chronicle.finish_reading();
}

fn chronicle() -> Chronicle {
    let mut chronicle = Chronicle::new(&start(), 7);
    chronicle.watch([2948], start().at.wall);
    chronicle
}

fn whole() -> Period {
    Period { since: at(1_600_000_000), until: at(1_900_000_000) }
}

fn packets(path: &Path) -> BTreeMap<String, u64> {
    let days = HistoryReader::open(path).expect("a history").days(2948, whole()).expect("days");
    days.iter().map(|(day, record)| (day.to_string(), record.traffic[1][0][0].packets)).collect()
}

#[test]
fn a_start_continues_with_what_was_saved() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    assert!(store.history().is_none());
    let mut first = chronicle();
    read_packets(&mut first, 1_700_000_001, 5);
    let holder = Holder { pid: 7, name: Some("ncat".into()), ..Holder::default() };
    first.holds(2948, Protocol::Udp, holder, (at(1_700_000_001), 2 * SECOND));
    store.keep_history(first.take_changes());
    // This is lost with the agent, and the kernel still has it.
    read_packets(&mut first, 1_700_000_002, 8);
    drop(store);

    let mut store = Store::open(&config);
    let kept = store.history().expect("a history");
    assert_eq!((&*kept.watched, kept.open.len()), (&[2948][..], 1));
    let later = Start { at: reading(1_700_000_100), ..start() };
    let mut second =
        Chronicle::resume(kept.chronicle, kept.cursors, kept.open, kept.watched, &later, 7);
    read_packets(&mut second, 1_700_000_101, 9);
    second.scanned(reading(1_700_000_102), []);
    store.keep_history(second.take_changes());

    // The writer is still there.
    assert_eq!(packets(&config.path), BTreeMap::from([("2023-11-14".into(), 9)]));
    let reader = HistoryReader::open(&config.path).expect("a history");
    let host = reader.host(whole()).expect("days");
    let day = HostDay { covered_ns: 2 * SECOND, lost: 0, unkept: 0 };
    assert_eq!(host, [(Day::of(at(1_700_000_000)), day)]);
    let gaps = reader.gaps(whole()).expect("gaps");
    assert_eq!((gaps.len(), gaps[0].length_ns), (1, 99 * SECOND));
    let holdings = reader.holdings(2948, whole(), 10).expect("holders");
    assert_eq!(holdings.len(), 1);
    assert_eq!(holdings[0].until, Some(at(1_700_000_001)), "the last look before the gap");
    let (since, state, dormant) =
        reader.state_at(2948, at(1_700_000_050)).expect("a state").expect("one");
    assert_eq!((since, state.as_str(), dormant), (at(1_700_000_001), "probed", false));
    assert_eq!(reader.state_at(2948, at(1_600_000_000)).expect("a state"), None);
    assert_eq!(reader.watched(2948).expect("times"), [(start().at.wall, None)]);
    assert!(reader.chronicle().expect("a history").is_some());
}

#[test]
fn a_store_without_a_history_keeps_its_ledger_and_begins_one() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    store.keep(&[record(1)], Some(ledger().take_changes()));
    drop(store);
    // As a store of before.
    fs::remove_file(history_path(&config.path)).expect("a file");
    assert!(matches!(HistoryReader::open(&config.path), Err(ReadError::Missing(_))));
    let mut store = Store::open(&config);
    assert!(store.history().is_none() && store.ledger().is_some());
    assert_eq!(all(&config.path).len(), 1);
}

#[test]
fn the_days_beyond_the_newest_ones_are_forgotten() {
    let directory = Directory::new();
    let config = StoreConfig { history: Duration::from_secs(3 * 86_400), ..directory.config() };
    let mut store = Store::open(&config);
    let mut chronicle = chronicle();
    for day in 0..6 {
        read_packets(&mut chronicle, 1_700_000_001 + day * 86_400, 5 * (day as u64 + 1));
        read_packets(&mut chronicle, 1_700_000_002 + day * 86_400, 5 * (day as u64 + 1));
        store.keep_history(chronicle.take_changes());
    }
    // At once, as an hour later.
    store.limit(&config);
    store.keep_history(chronicle.take_changes());
    let kept: Vec<String> = packets(&config.path).into_keys().collect();
    assert_eq!(kept, ["2023-11-17", "2023-11-18", "2023-11-19"]);
    let reader = HistoryReader::open(&config.path).expect("a history");
    assert!(reader.state_at(2948, at(1_700_259_200)).expect("a state").is_some());
}

#[test]
fn a_damaged_history_is_set_aside_and_the_events_stay() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    store.keep(&[record(1)], None);
    let mut chronicle = chronicle();
    read_packets(&mut chronicle, 1_700_000_001, 5);
    store.keep_history(chronicle.take_changes());
    drop(store);
    let path = history_path(&config.path);
    let mut bytes = fs::read(&path).expect("a file");
    bytes[..4096].fill(0x55);
    fs::write(&path, bytes).expect("a file");
    let log = logged(|| {
        let mut store = Store::open(&config);
        assert!(store.history().is_none());
        store.keep_history(chronicle.take_changes());
    });
    assert!(log.contains("is corrupted"), "{log}");
    assert_eq!(all(&config.path).len(), 1);
}

#[test]
fn a_full_history_gives_up_its_oldest_days() {
    let directory = Directory::new();
    let config = StoreConfig { max_size: 1 << 20, ..directory.config() };
    let mut store = Store::open(&config);
    let mut chronicle = chronicle();
    for day in 0..40 {
        let second = 1_700_000_001 + day * 86_400;
        read_packets(&mut chronicle, second, 5 * (day as u64 + 1));
        read_packets(&mut chronicle, second + 1, 5 * (day as u64 + 1));
        for port in 0..200 {
            let verdict = "x".repeat(32);
            chronicle.identified(3000 + port, at(second), &verdict);
            (0..8_u8).for_each(|n| {
                chronicle.identified(3000 + port, at(second), &format!("{n}{verdict}"));
            });
        }
        store.keep_history(chronicle.take_changes());
    }
    let size = fs::metadata(history_path(&config.path)).expect("a file").len();
    assert!(size <= 1 << 20, "{size}");
    let kept = packets(&config.path);
    assert!(!kept.contains_key("2023-11-14"), "{kept:?}");
    assert_eq!(kept.last_key_value(), Some((&"2023-12-23".to_owned(), &5)));
}
