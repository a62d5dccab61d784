//! Statements from histories.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use jiff::Timestamp;
use monitor_common::flow::{PortCounters, Protocol, Traffic};
use monitor_ledger::{
    ClockReading, CounterEpoch, PortState, Start,
    days::{BindCount, Chronicle, Holder, Program},
};

use super::{collect, markdown, merge, text};
use crate::{
    api::report::{Report, Verdict},
    config::StoreConfig,
    store::{HistoryReader, Store},
    terminal::page::{Paper, WIDTH},
};

const NOON: i64 = 1_795_176_000;
const SECOND: u64 = 1_000_000_000;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn at(second: i64) -> ClockReading {
    ClockReading { wall: time(second), boottime_ns: (second - NOON + 10) as u64 * SECOND }
}

/// A history in a folder that is removed with it.
struct History {
    folder: PathBuf,
    store: Store,
    chronicle: Chronicle,
}

impl History {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ghostport-report-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder");
        let config = StoreConfig { path: folder.join("ghostport.db"), ..StoreConfig::default() };
        let counters = CounterEpoch { id: "one".into(), adopted: false };
        let start = Start { at: at(NOON), boot_id: "boot".into(), counters };
        let mut chronicle = Chronicle::new(&start, 7);
        chronicle.watch([2948, 2949], start.at.wall);
        Self { store: Store::open(&config), folder, chronicle }
    }

    /// Reads counters every 20 seconds until then.
    fn cover(&mut self, from: i64, to: i64) {
        (from..=to).step_by(20).for_each(|second| self.read(second, 0, 0));
    }

    fn read(&mut self, second: i64, received: u64, transit: u64) {
        self.chronicle.begin_reading(at(second));
        let mut counters = PortCounters::default();
        counters.traffic[1][0][0] = Traffic { packets: received, bytes: received * 60 };
        counters.traffic[0][0][2] = Traffic { packets: transit, bytes: transit * 60 };
        if received + transit > 0 {
            self.chronicle.traffic(2, true, 2948, &counters);
            self.chronicle.state(2948, PortState::Probed, false);
        }
        self.chronicle.finish_reading();
    }

    fn report(&mut self, since: i64, now: i64, host: &str) -> Report {
        self.store.keep_history(self.chronicle.take_changes());
        let reader = HistoryReader::open(&self.folder.join("ghostport.db")).expect("a history");
        collect::report(&reader, &[2948, 2949], (time(since), time(now)), host).expect("a report")
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn verdicts(report: &Report) -> [Verdict; 2] {
    [report.ports[0].verdict, report.ports[1].verdict]
}

#[test]
fn a_port_without_anything_is_unused_where_the_time_is_covered() {
    let mut history = History::new();
    history.cover(NOON, NOON + 7200);
    let report = history.report(NOON + 10, NOON + 7220, "a");
    assert_eq!(verdicts(&report), [Verdict::Unused; 2], "{report:?}");
    assert_eq!(report.ports[0].coverage.longest_gap_seconds, 0.0);
    assert_eq!(report.until, time(NOON + 7200), "up to the last save");
}

#[test]
fn transit_is_left_out_and_a_packet_to_this_host_is_not() {
    let mut history = History::new();
    history.cover(NOON, NOON + 600);
    history.read(NOON + 620, 0, 9);
    let report = history.report(NOON, NOON + 620, "a");
    assert_eq!(report.ports[0].verdict, Verdict::Unused);
    assert_eq!(report.ports[0].left_out.transit.received, 9);
    history.read(NOON + 640, 2, 9);
    let report = history.report(NOON, NOON + 640, "a");
    assert_eq!(report.ports[0].verdict, Verdict::Used);
    assert_eq!(report.ports[0].reasons, ["2 packets came to this host"]);
    assert_eq!(report.ports[0].first_packet, Some(time(NOON + 640)));
}

#[test]
fn gaps_that_matter_leave_it_open() {
    let mut history = History::new();
    history.cover(NOON, NOON + 100);
    // Before the history, and no agent looked for two hours.
    history.cover(NOON + 7300, NOON + 7400);
    for since in [NOON - 5000, NOON + 10] {
        let report = history.report(since, NOON + 7400, "a");
        assert_eq!(verdicts(&report), [Verdict::Unknown; 2], "{report:?}");
    }
    let report = history.report(NOON + 10, NOON + 7400, "a");
    assert_eq!(
        report.ports[0].reasons,
        ["3m10s of 2h3m10s are covered, the longest time that is not is 2h"]
    );
    assert_eq!((report.hosts[0].gap_count, report.hosts[0].gaps[0].seconds), (1, 7200.0));
    // And the agent does not run any more.
    let report = history.report(NOON + 7310, NOON + 9000, "a");
    assert_eq!(report.ports[0].verdict, Verdict::Unknown);
}

#[test]
fn a_port_that_was_not_watched_is_not_said_to_be_unused() {
    let mut history = History::new();
    history.chronicle.watch([2948], time(NOON + 60));
    history.cover(NOON, NOON + 9000);
    let report = history.report(NOON, NOON + 9000, "a");
    assert_eq!(verdicts(&report), [Verdict::Unused, Verdict::Unknown]);
}

fn used(history: &mut History) {
    history.cover(NOON, NOON + 100);
    history.read(NOON + 120, 1000, 3);
    let holder = Holder {
        pid: 712,
        executable: Some("/usr/bin/ncat|x".into()),
        user: Some("nobody".into()),
        ..Holder::default()
    };
    history.chronicle.holds(2948, Protocol::Tcp, holder, (time(NOON + 100), 0));
    let count = BindCount { succeeded: 1, refused: 0 };
    history.chronicle.bound(
        2948,
        time(NOON + 100),
        Program::new("/usr/bin/ncat|x", "nobody"),
        count,
    );
    history.chronicle.talker(
        2948,
        Protocol::Udp,
        "192.0.2.7".parse().expect("an address"),
        [1000, 0, 60_000, 0],
    );
}

#[test]
fn the_text_fits_the_terminal_and_says_who() {
    let mut history = History::new();
    used(&mut history);
    let report = history.report(NOON, NOON + 120, "gateway");
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
    for part in [
        "2948 wap-push: used because 1000 packets came to this host",
        "/usr/bin/ncat|x (pid 712, user nobody, tcp)",
        "192.0.2.7 (1000 received, 0 sent)",
        "2026-11-20",
        "3 packets that passed through this host",
        "2949 wap-pushsecure: not used because no packet, bind or holder",
    ] {
        assert!(
            page.split_whitespace().collect::<Vec<_>>().join(" ").contains(part),
            "{part}\n{page}"
        );
    }
    let page = markdown::page(&report);
    assert!(page.contains("| 2948 wap-push | gateway | used |"), "{page}");
    assert!(page.contains("ncat\\|x") && !page.contains("ncat|x"), "{page}");
}

#[test]
fn a_fleet_is_used_where_one_host_is() {
    let (mut first, mut second) = (History::new(), History::new());
    used(&mut first);
    second.cover(NOON, NOON + 7200);
    let [a, b] = [first.report(NOON, NOON + 120, "a"), second.report(NOON, NOON + 7200, "b")];
    let again = second.report(NOON, NOON + 7190, "b");
    let now = time(NOON + 9000);
    let merged = merge::merged(vec![b.clone(), again.clone(), a.clone()], None, now);
    assert_eq!(merged, merge::merged(vec![merge::merged(vec![a, again], None, now), b], None, now));
    let hosts: Vec<(u16, &str, Verdict)> =
        merged.ports.iter().map(|port| (port.port, &*port.host, port.verdict)).collect();
    use Verdict::{Unused, Used};
    assert_eq!(merged.verdict, Used);
    let expected =
        [(2948, "a", Used), (2948, "b", Unused), (2949, "a", Unused), (2949, "b", Unused)];
    assert_eq!(hosts, expected);
    assert_eq!(merged.hosts[1].generated, time(NOON + 7200), "the newest of a host");
    assert!(text::page(&merged, Paper::PLAIN).contains("2948 wap-push: used on 1 of 2 hosts"));
    let only = merge::merged(vec![merged], Some(&[2949]), now);
    assert_eq!((only.ports.len(), only.verdict), (2, Unused));
}

#[test]
fn the_document_is_as_its_schema_says_and_reads_back() {
    let mut history = History::new();
    used(&mut history);
    let report = history.report(NOON - 100, NOON + 9000, "a");
    let document = serde_json::to_value(&report).expect("JSON");
    let schema = crate::schema::report();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(serde_json::from_value::<Report>(document).expect("a report"), report);
}
