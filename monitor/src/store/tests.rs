mod damage;
mod history;
mod killed;

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use monitor_ledger::{ClockReading, CounterEpoch, Ledger, Start, Watched};
use rusqlite::Connection;
use testkit::logged::logged;

use super::{database::Database, *};
use crate::{
    config::{DEFAULT_DORMANT_AFTER, DiskReserve, StoreConfig},
    event::{EncodedEvent, Event, EventContext, EventLosses, EventName},
};

/// A directory that is removed with everything in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("ghostport-store-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn config(&self) -> StoreConfig {
        StoreConfig { path: self.0.join("ghostport.db"), ..forgets_nothing() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The events of these tests happened in 1970.
fn forgets_nothing() -> StoreConfig {
    StoreConfig { retain: Duration::from_secs(100 * 365 * 86_400), ..StoreConfig::default() }
}

fn event(time: Timestamp, reason: &str) -> EncodedEvent {
    let context = EventContext { host_name: "host".into(), clock_offset_ns: 0 };
    EncodedEvent::new(Event::agent_stopped(time, reason, &context)).expect("JSON")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn record(number: i64) -> Record {
    Record {
        time_ns: number,
        port: Some(2948),
        kind: "bind",
        line: format!("{{\"number\":{number},\"filling\":\"{}\"}}", "x".repeat(400)).into(),
    }
}

/// Every line that `filter` selects.
fn read(path: &Path, filter: &Filter) -> Vec<String> {
    let mut lines = Vec::new();
    let reader = Reader::open(path).expect("a store");
    let shown = reader.each(filter, |line| {
        lines.push(line.to_owned());
        ControlFlow::Continue(())
    });
    shown.expect("lines");
    lines
}

fn all(path: &Path) -> Vec<String> {
    read(path, &Filter::default())
}

fn reasons(lines: &[String]) -> Vec<String> {
    let reason = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event["ghostport.reason"].as_str().expect("a reason").to_owned()
    };
    lines.iter().map(reason).collect()
}

fn integrity(path: &Path) -> String {
    let connection = Connection::open(path).expect("a database");
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict")
}

fn start() -> Start {
    let at = ClockReading { wall: at(1_700_000_000), boottime_ns: 1_000_000_000 };
    let counters = CounterEpoch { id: "one".into(), adopted: false };
    Start { at, boot_id: "boot".into(), counters }
}

/// A store of a mebibyte, which is soon full, and the directory that it is in.
fn small_store() -> (Directory, StoreConfig, Store) {
    let directory = Directory::new();
    let config = StoreConfig { max_size: 1 << 20, ..directory.config() };
    let store = Store::open(&config);
    (directory, config, store)
}

fn watched(port: u16) -> Watched {
    Watched { port, dormant_after: DEFAULT_DORMANT_AFTER, has_owners: false }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(start());
    ledger.watch([2948, 2949].map(watched), start().at);
    ledger
}

#[tokio::test]
async fn events_come_back_in_order_while_the_agent_writes() {
    let directory = Directory::new();
    let config = directory.config();
    let queue = StoreQueue::start(Store::open(&config)).expect("a queue");
    for number in 0..2000 {
        queue.send(&event(at(number), &number.to_string()));
    }
    queue.flush().await;
    let lines = all(&config.path);
    assert_eq!(lines.len(), 2000);
    let numbers: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    assert_eq!(reasons(&lines), numbers);
    assert_eq!(lines[7], event(at(7), "7").line.json());
    assert!(queue.close(Duration::from_secs(10)).await);
    assert_eq!(queue.losses(), EventLosses::default());
    assert!(!database::beside(&config.path, "-wal").exists(), "the log is written back");
    assert_eq!(all(&config.path).len(), 2000);

    queue.send(&event(at(1), "late"));
    assert_eq!(queue.losses(), EventLosses { queue: 1, sink: 0 });
    assert!(queue.close(Duration::from_secs(10)).await, "closing twice does no harm");
}

#[test]
fn filters_select_events() {
    let directory = Directory::new();
    let config = directory.config();
    let mut database = Database::open(&config).expect("a database");
    let records: Vec<Record> = (0..1200)
        .map(|number: u16| Record {
            time_ns: i64::from(number) * 1_000_000_000,
            port: Some(number % 3).filter(|port| *port != 0),
            kind: if number.is_multiple_of(2) { "bind" } else { "close" },
            line: format!(r#"{{"number":{number}}}"#).into(),
        })
        .collect();
    database.write(&records, None).expect("written");
    let count = |filter: Filter| read(&config.path, &filter).len();
    let none = Filter::default;
    assert_eq!(count(none()), 1200);
    assert_eq!(count(Filter { port: Some(1.into()), ..none() }), 400);
    assert_eq!(count(Filter { kind: Some(EventName::Bind), ..none() }), 600);
    assert_eq!(count(Filter { kind: Some(EventName::Dormant), ..none() }), 0);
    assert_eq!(count(Filter { since: Some(at(1190)), ..none() }), 10);
    assert_eq!(count(Filter { since: Some(at(1190)), until: Some(at(1192)), ..none() }), 2);
    let filter = Filter { port: Some(2.into()), limit: Some(2), ..none() };
    let newest = [r#"{"number":1196}"#, r#"{"number":1199}"#];
    assert_eq!(read(&config.path, &filter), newest, "the newest, oldest first");
    assert_eq!(
        backwards(&config.path, &filter),
        newest.map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(backwards(&config.path, &none()).len(), 1200);
    assert_eq!(count(Filter { limit: Some(5000), ..none() }), 1200);
    assert_eq!(count(Filter { limit: Some(0), ..none() }), 0);
}

/// The selected events, newest first.
fn backwards(path: &Path, filter: &Filter) -> Vec<String> {
    let mut lines = Vec::new();
    let reader = Reader::open(path).expect("a store");
    reader
        .each_backwards(filter, |line| {
            lines.push(line.to_owned());
            ControlFlow::Continue(())
        })
        .expect("read");
    lines
}

#[test]
fn filters_select_by_what_events_say() {
    let directory = Directory::new();
    let config = directory.config();
    let mut database = Database::open(&config).expect("a database");
    let lines = [
        r#"{"process.pid":7,"process.executable.path":"/usr/bin/nc","process.executable.name":"nc","process.user.id":33,"process.user.name":"www-data"}"#,
        r#"{"process.pid":8,"process.executable.name":"NC","process.user.id":0,"process.user.name":"root","ghostport.verdict":"http"}"#,
        r#"{"network.peer.address":"2001:db8::1","ghostport.verdict":"tls","ghostport.reason":"100% _sure_"}"#,
        "no JSON, but http",
    ];
    let records = lines.map(|line| Record { line: line.to_owned().into(), ..record(1) });
    database.write(&records, None).expect("written");
    let chosen = |filter: Filter| -> Vec<usize> {
        let found = read(&config.path, &filter);
        lines
            .iter()
            .enumerate()
            .filter(|(_, line)| found.iter().any(|found| found == *line))
            .map(|(n, _)| n)
            .collect()
    };
    let none = Filter::default;
    let text = |text: &str| Filter { text: Some(text.into()), ..none() };
    assert_eq!(chosen(none()), [0, 1, 2], "a row that is no JSON is no event");
    assert_eq!(chosen(Filter { process: Some(8), ..none() }), [1]);
    assert_eq!(chosen(Filter { executable: Some("nc".into()), ..none() }), [0]);
    assert_eq!(chosen(Filter { executable: Some("/usr/bin/nc".into()), ..none() }), [0]);
    assert_eq!(chosen(Filter { user: Some("33".into()), ..none() }), [0]);
    assert_eq!(chosen(Filter { user: Some("root".into()), ..none() }), [1]);
    assert_eq!(chosen(Filter { verdict: Some("tls".into()), ..none() }), [2]);
    assert_eq!(chosen(Filter { peer: "2001:db8:0:0::1".parse().ok(), ..none() }), [2]);
    assert_eq!(chosen(text("HTTP")), [1]);
    assert_eq!(chosen(text("0% _s")), [2]);
    assert_eq!(chosen(text("%pid%")), Vec::<usize>::new());
    assert_eq!(
        chosen(Filter { user: Some("root".into()), process: Some(7), ..none() }),
        Vec::<usize>::new()
    );
    let one = Filter { verdict: Some("http".into()), limit: Some(1), ..none() };
    assert_eq!(chosen(one), [1]);
}

#[test]
fn a_reader_continues_where_it_stopped() {
    let directory = Directory::new();
    let config = directory.config();
    let mut database = Database::open(&config).expect("a database");
    database.write(&[record(1)], None).expect("written");
    let reader = Reader::open(&config.path).expect("a store");
    let filter = Filter { kind: Some(EventName::Bind), ..Filter::default() };
    let mut seen = 0;
    let mut count = |_: &str| {
        seen += 1;
        ControlFlow::Continue(())
    };
    let place = reader.each(&filter, &mut count).expect("lines");
    let place = reader.each_after(place, &filter, &mut count).expect("none");
    let other = Record { kind: "close", ..record(2) };
    database.write(&[other, record(3), record(4)], None).expect("written");
    reader.each_after(place, &filter, &mut count).expect("two");
    assert_eq!(seen, 3);
    let stopped = reader.each(&filter, |_| ControlFlow::Break(())).expect("one");
    assert_eq!(stopped, place, "after the first line again");
}

#[test]
fn creates_files_that_others_cannot_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let mut config = directory.config();
    config.path = directory.0.join("made/ghostport.db");
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[record(1)], None), 0);
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    let log = database::beside(&config.path, "-wal");
    for (path, most) in
        [(config.path.parent(), 0o750), (Some(&config.path), 0o640), (Some(&log), 0o640)]
    {
        let path = path.expect("a path");
        assert_eq!(mode(path) & !most, 0, "{}", path.display());
    }
    drop(store);
    // A restored backup, as cp makes it.
    fs::set_permissions(&config.path, fs::Permissions::from_mode(0o644)).expect("set");
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[record(2)], None), 0);
    assert_eq!(mode(&config.path), 0o640);
    assert_eq!(mode(&log) & 0o007, 0);
}

#[test]
fn restores_the_ledger() {
    let directory = Directory::new();
    let config = directory.config();
    let mut ledger = ledger();
    let changes = ledger.take_changes();
    {
        let mut store = Store::open(&config);
        assert_eq!(store.ledger(), None);
        assert_eq!(store.keep(&[], Some(changes.clone())), 0);
        ledger.watch([watched(2948)], start().at);
        assert_eq!(store.keep(&[], Some(ledger.take_changes())), 0);
    }
    let kept = Store::open(&config).ledger().expect("a ledger");
    assert_eq!(kept.ledger, changes.ledger);
    assert!(matches!(kept.ports[..], [(2948, _)]), "{:?}", kept.ports);
    let restored = kept.restore(start()).expect("this version");
    assert_eq!(restored.facts(2948), ledger.facts(2948));
}

#[test]
fn deletes_old_events() {
    let directory = Directory::new();
    let config = StoreConfig { retain: Duration::from_secs(3600), ..directory.config() };
    let mut store = Store::open(&config);
    // What the clock said does not matter: one is of 1970, one of a year that is to come.
    let times = [at(1), Timestamp::now() + SignedDuration::from_hours(365 * 24)];
    let records = times.map(|time| Record::from(&event(time, "early")));
    assert_eq!(store.keep(&records, None), 0);
    let grow_older = |seconds: i64| {
        let database = Connection::open(&config.path).expect("a database");
        database.execute("UPDATE age SET seconds = seconds + ?1", [seconds]).expect("updated");
    };
    let keep = |store: &mut Store, reason| {
        // The next write forgets.
        store.limit(&config);
        assert_eq!(store.keep(&[Record::from(&event(at(2), reason))], None), 0);
    };
    grow_older(3000);
    keep(&mut store, "later");
    assert_eq!(reasons(&all(&config.path)), ["early", "early", "later"]);
    grow_older(700);
    keep(&mut store, "last");
    assert_eq!(reasons(&all(&config.path)), ["later", "last"]);
    // A restart does not begin again.
    drop(store);
    grow_older(3000);
    keep(&mut Store::open(&config), "after");
    assert_eq!(reasons(&all(&config.path)), ["last", "after"]);
}

#[test]
fn keeps_earlier_events_as_long_as_new_ones() {
    let directory = Directory::new();
    let config = StoreConfig { retain: Duration::from_secs(3600), ..directory.config() };
    let database = Connection::open(&config.path).expect("a database");
    schema::EVENTS.migrate_to(&database, 2).expect("the tables of before");
    let sql = "INSERT INTO events (time_ns, kind, line) VALUES (1, 'agent_stopped', '{\"ghostport.reason\":\"old\"}')";
    database.execute(sql, []).expect("inserted");
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[Record::from(&event(at(2), "new"))], None), 0);
    assert_eq!(reasons(&all(&config.path)), ["old", "new"]);
    database.execute("UPDATE age SET seconds = 3600", []).expect("updated");
    store.limit(&config);
    assert_eq!(store.keep(&[Record::from(&event(at(3), "newer"))], None), 0);
    assert_eq!(reasons(&all(&config.path)), ["new", "newer"]);
}

#[test]
fn deletes_the_oldest_events_when_full() {
    let (_directory, config, mut store) = small_store();
    let mut written = 0;
    // Several times what has room.
    for batch in 0..400 {
        let records: Vec<Record> = (0..20).map(|number| record(batch * 20 + number)).collect();
        assert_eq!(store.keep(&records, None), 0, "batch {batch}");
        written += 20;
        let size = |suffix| {
            fs::metadata(database::beside(&config.path, suffix)).map_or(0, |file| file.len())
        };
        assert!(size("") + size("-wal") <= config.max_size, "batch {batch}");
    }
    let kept = all(&config.path);
    assert!(kept.len() > 500, "{} kept", kept.len());
    assert_eq!(kept.last().map(String::as_str), Some(record(written - 1).line.json()));
    let first = written - kept.len() as i64;
    assert_eq!(
        kept.first().map(String::as_str),
        Some(record(first).line.json()),
        "the newest, without a gap"
    );

    let smaller = StoreConfig { max_size: 3 << 19, ..config.clone() };
    store.limit(&smaller);
    assert_eq!(store.keep(&[record(written)], None), 0);
}

/// A burst from the ring buffer may be larger than the free room, or than the whole store.
#[test]
fn deletes_the_oldest_events_for_a_burst() {
    let (_directory, config, mut store) = small_store();
    let mut written = 0;
    for burst in [1024, 7, 300, 1024, 1024, 1, 900, 8192] {
        let records: Vec<Record> = (written..written + burst).map(record).collect();
        assert_eq!(store.keep(&records, None), 0, "burst of {burst} after {written}");
        written += burst;
        let kept = all(&config.path);
        let first = written - kept.len() as i64;
        assert_eq!(
            kept.first().map(String::as_str),
            Some(record(first).line.json()),
            "the newest, without a gap"
        );
        assert_eq!(kept.last().map(String::as_str), Some(record(written - 1).line.json()));
    }
    assert_eq!(integrity(&config.path), "ok");
}

#[test]
fn identified_events_do_not_displace_others() {
    let (_directory, config, mut store) = small_store();
    for number in 0..50 {
        assert_eq!(store.keep(&[record(number)], None), 0);
    }
    for batch in 1..400_i64 {
        let payload = |number| Record { kind: "identified", ..record(batch * 100 + number) };
        let records: Vec<Record> = (0..20).map(payload).collect();
        assert_eq!(store.keep(&records, None), 0, "batch {batch}");
    }
    let kept = all(&config.path);
    assert!(kept.len() > 500, "{} kept", kept.len());
    for number in 0..50 {
        assert!(kept.iter().any(|line| line == record(number).line.json()), "bind {number}");
    }
}

/// A local user can bind a port as often as he likes.
#[test]
fn a_flood_displaces_no_other_kind_and_no_other_port() {
    let (_directory, config, mut store) = small_store();
    let others = [("bind", Some(2949)), ("close", Some(2948)), ("hook_changed", None)];
    let yesterday: Vec<Record> = (0..60)
        .map(|number| {
            let (kind, port) = others[number as usize % others.len()];
            Record { kind, port, ..record(number) }
        })
        .collect();
    assert_eq!(store.keep(&yesterday, None), 0);
    for batch in 1..300_i64 {
        let records: Vec<Record> = (0..20).map(|number| record(batch * 100 + number)).collect();
        assert_eq!(store.keep(&records, None), 0, "batch {batch}");
    }
    let kept = all(&config.path);
    assert_eq!(&kept[..60], yesterday.iter().map(|record| record.line.json()).collect::<Vec<_>>());
    assert!(kept.len() > 500, "{} kept", kept.len());
}

/// With all ports watched there are 65,535 places to bind.
#[test]
fn a_flood_on_every_port_displaces_no_other_kind() {
    let (_directory, config, mut store) = small_store();
    let yesterday: Vec<Record> = (0..60)
        .map(|number| Record { kind: ["close", "awakened"][number as usize % 2], ..record(number) })
        .collect();
    assert_eq!(store.keep(&yesterday, None), 0);
    for batch in 1..300_i64 {
        let of_port = |number: i64| Record {
            port: Some((batch * 20 + number) as u16),
            ..record(batch * 100 + number)
        };
        let records: Vec<Record> = (0..20).map(of_port).collect();
        assert_eq!(store.keep(&records, None), 0, "batch {batch}");
    }
    let kept = all(&config.path);
    assert_eq!(&kept[..60], yesterday.iter().map(|record| record.line.json()).collect::<Vec<_>>());
    assert!(kept.len() > 500, "{} kept", kept.len());
}

#[test]
fn leaves_the_reserve_of_its_disk() {
    let directory = Directory::new();
    let config = StoreConfig { reserve: DiskReserve::Bytes(1 << 60), ..directory.config() };
    let mut store = Store::open(&config);
    let log = logged(|| {
        for _ in 0..3 {
            assert_eq!(store.keep(&[record(1)], None), 1);
        }
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("no more is free on its disk than the reserve of"), "{log}");
    store.limit(&StoreConfig { reserve: DiskReserve::Bytes(0), ..config.clone() });
    assert_eq!(store.keep(&[record(2)], None), 0);
    assert_eq!(all(&config.path), [record(2).line.json()]);
}

/// What is kept without growth goes on below the reserve of the disk.
#[test]
fn keeps_the_ledger_and_forgets_below_the_reserve() {
    let directory = Directory::new();
    let usual = StoreConfig { reserve: DiskReserve::Bytes(0), ..directory.config() };
    let low = StoreConfig { reserve: DiskReserve::Bytes(1 << 60), ..usual.clone() };
    let mut store = Store::open(&usual);
    let records: Vec<Record> = (0..2000).map(record).collect();
    assert_eq!(store.keep(&records, None), 0);

    store.limit(&low);
    let log = logged(|| {
        let many: Vec<Record> = (2000..4000).map(record).collect();
        let changes = ledger().take_changes();
        assert_eq!(store.keep(&many, Some(changes)), 2000, "more than the older ones give way to");
        assert!(store.ledger().is_some_and(|kept| kept.ports.len() == 2));
        assert_eq!(store.keep(&[], Some(ledger().take_changes())), 0);
    });
    assert_eq!(log.lines().count(), 1, "the ledger alone is no recovery: {log}");
    assert_eq!(all(&usual.path).len(), 2000);

    let pages = || -> i64 {
        let database = Connection::open(&usual.path).expect("a database");
        database.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a number")
    };
    let before = pages();
    for number in 4000..4300 {
        assert_eq!(store.keep(&[record(number)], None), 0, "in place of older ones");
    }
    drop(store);
    assert!(pages() <= before, "{} pages, {before} before", pages());
    let kept = all(&usual.path);
    assert!((1500..2300).contains(&kept.len()), "{} kept", kept.len());
    assert_ne!(kept[0], record(0).line.json(), "the oldest gave way");
    assert_eq!(kept.last().map(String::as_str), Some(record(4299).line.json()));

    let mut store = Store::open(&low);
    store.limit(&StoreConfig { retain: Duration::ZERO, ..low });
    let database = Connection::open(&usual.path).expect("a database");
    database.execute("UPDATE age SET seconds = seconds + 4000", []).expect("updated");
    assert_eq!(store.keep(&[], Some(ledger().take_changes())), 0);
    assert_eq!(all(&usual.path).len(), 0, "old events are forgotten");
}

#[test]
fn leaves_databases_of_other_programs_alone() {
    let directory = Directory::new();
    let config = directory.config();
    let other = Connection::open(&config.path).expect("a database");
    other.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    let mut store = None;
    let log = logged(|| store = Some(Store::open(&config)));
    assert!(log.contains("the database of another program"), "{log}");
    assert_eq!(store.expect("a store").keep(&[record(1)], None), 1);
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(tables, 1);
    assert!(Reader::open(&config.path).is_err());
}

#[test]
fn leaves_later_schemas_alone() {
    let directory = Directory::new();
    let config = directory.config();
    drop(Store::open(&config));
    let database = Connection::open(&config.path).expect("a database");
    database.pragma_update(None, "user_version", schema::EVENTS.newest() as i64 + 1).expect("set");
    let error = Database::open(&config).expect_err("too new").to_string();
    assert!(error.contains("made by a later ghostport"), "{error}");
    let error = Reader::open(&config.path).expect_err("too new").to_string();
    assert!(
        error.starts_with(&format!("cannot read the store at {}", config.path.display())),
        "{error}"
    );
}

#[test]
fn a_missing_store_is_explained() {
    let directory = Directory::new();
    let error = Reader::open(&directory.config().path).expect_err("no store").to_string();
    assert!(
        error.starts_with("there is no store at /") && error.contains("ghostport run"),
        "{error}"
    );
}

#[tokio::test]
async fn a_slow_store_does_not_block_its_callers() {
    let directory = Directory::new();
    let config = directory.config();
    let store = Store::open(&config);
    // Another writer: ours waits for it.
    let other = Connection::open(&config.path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let queue = StoreQueue::start(store).expect("a queue");
    let mut sent = 0;
    while queue.losses().queue == 0 {
        let begin = Instant::now();
        queue.send(&event(at(sent), "fills the queue"));
        sent += 1;
        // The store itself waits for seconds.
        assert!(begin.elapsed() < Duration::from_secs(2));
    }
    let changes = queue.save(ledger().take_changes()).expect_err("the queue is full");
    assert_eq!(changes.ports.len(), 2);
    other.execute_batch("ROLLBACK").expect("released");
    assert!(queue.close(Duration::from_secs(20)).await);
    let EventLosses { queue: lost, sink } = queue.losses();
    assert_eq!(all(&config.path).len() as u64, sent as u64 - lost - sink);
}
