//! Databases that are damaged, removed, or replaced.

use super::*;

fn aside(directory: &Directory) -> Vec<PathBuf> {
    let entries = fs::read_dir(&directory.0).expect("a directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.to_string_lossy().contains(".db.corrupt-"));
    files.sort();
    files
}

#[test]
fn sets_aside_files_that_are_no_database() {
    let directory = Directory::new();
    let config = directory.config();
    let text = "this is no database at all, ".repeat(100);
    fs::write(&config.path, &text).expect("written");
    let log = logged(|| assert_eq!(Store::open(&config).keep(&[record(1)], None), 0));
    assert!(log.contains("is corrupted") && log.contains("set aside as"), "{log}");
    let [file] = &aside(&directory)[..] else { panic!("{:?}", aside(&directory)) };
    assert_eq!(fs::read_to_string(file).expect("the text"), text);
    assert!(log.contains(&file.display().to_string()), "{log}");
    assert_eq!(all(&config.path), [record(1).line.json()]);
}

/// A database that is full of events, with its middle overwritten.
fn damaged(config: &StoreConfig) {
    let mut database = Database::open(config).expect("a database");
    let records: Vec<Record> = (0..500).map(record).collect();
    database.write(&records, None).expect("written");
    drop(database);
    let mut bytes = fs::read(&config.path).expect("bytes");
    let whole = bytes.len();
    bytes[4096..whole - 4096].fill(0x5a);
    fs::write(&config.path, bytes).expect("written");
}

#[test]
fn sets_aside_databases_with_damaged_pages() {
    let directory = Directory::new();
    let config = directory.config();
    damaged(&config);
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[record(7)], Some(ledger().take_changes())), 0);
    assert_eq!(aside(&directory).len(), 1);
    assert_eq!(all(&config.path), [record(7).line.json()]);
    assert_eq!(integrity(&config.path), "ok");
}

#[tokio::test]
async fn a_new_store_asks_for_the_whole_ledger() {
    let directory = Directory::new();
    let config = directory.config();
    let queue = StoreQueue::start(Store::open(&config)).expect("a queue");
    let mut ledger = ledger();
    queue.save(ledger.take_changes()).expect("queued");
    queue.flush().await;
    assert!(!queue.needs_whole_ledger());
    // The directory was cleared.
    for file in fs::read_dir(&directory.0).expect("a directory") {
        fs::remove_file(file.expect("an entry").path()).expect("removed");
    }
    queue.send(&event(at(1), "after"));
    queue.flush().await;
    assert_eq!(reasons(&all(&config.path)), ["after"]);
    assert!(queue.needs_whole_ledger() && !queue.needs_whole_ledger());
    ledger.mark_unsaved();
    queue.save(ledger.take_changes()).expect("queued");
    assert!(queue.close(Duration::from_secs(10)).await);
    let kept = Store::open(&config).ledger().expect("a ledger");
    assert_eq!(kept.ports.len(), 2);
}

#[test]
fn keeps_only_the_newest_damaged_databases() {
    let directory = Directory::new();
    let config = directory.config();
    for round in 0..5 {
        fs::write(&config.path, format!("no database {round} ").repeat(100)).expect("written");
        drop(Store::open(&config));
    }
    let files = aside(&directory);
    assert_eq!(files.len(), 3);
    let newest = fs::read_to_string(&files[2]).expect("text");
    assert!(newest.starts_with("no database 4"), "{newest}");
}

#[test]
fn a_reader_notices_a_new_file() {
    let directory = Directory::new();
    let config = directory.config();
    drop(Store::open(&config));
    let reader = Reader::open(&config.path).expect("a store");
    assert!(!reader.was_replaced());
    fs::remove_file(&config.path).expect("removed");
    assert!(!reader.was_replaced(), "there is no other one yet");
    drop(Store::open(&config));
    assert!(reader.was_replaced());
}

#[test]
fn ignores_an_invalid_ledger() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[], Some(ledger().take_changes())), 0);
    let database = Connection::open(&config.path).expect("a database");
    database.execute("UPDATE ledger SET state = '{}'", []).expect("updated");
    let log = logged(|| assert_eq!(store.ledger(), None));
    assert!(log.contains("the ledger starts empty"), "{log}");
}

#[test]
fn skips_and_counts_events_that_cannot_be_read() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[record(1), record(2), record(3)], None), 0);
    let database = Connection::open(&config.path).expect("a database");
    for (id, line) in [(1, "CAST(x'7b22ff227d' AS TEXT)"), (2, "'[1'")] {
        database
            .execute(&format!("UPDATE events SET line = {line} WHERE id = {id}"), [])
            .expect("set");
    }
    let reader = Reader::open(&config.path).expect("a store");
    let mut lines = Vec::new();
    let shown = reader.each(&Filter::default(), |line| {
        lines.push(line.to_owned());
        ControlFlow::Continue(())
    });
    shown.expect("lines");
    assert_eq!(lines, [record(3).line.json()]);
    assert_eq!(reader.unreadable(), 2);
}

#[test]
fn a_damaged_port_costs_no_other_port_its_history() {
    let directory = Directory::new();
    let config = directory.config();
    let mut store = Store::open(&config);
    assert_eq!(store.keep(&[], Some(ledger().take_changes())), 0);
    let database = Connection::open(&config.path).expect("a database");
    let sql = "UPDATE ledger_ports SET state = CAST(x'ff' AS TEXT) WHERE port = 2948";
    database.execute(sql, []).expect("updated");
    let mut known = None;
    let log = logged(|| known = store.ledger());
    let ports = known.expect("a ledger").ports;
    assert!(matches!(ports[..], [(2949, _)]), "{ports:?}");
    assert!(log.contains("the history of port 2948 cannot be read"), "{log}");
}

/// A view that never ends, in the place of the events.
#[test]
fn rejects_a_database_with_other_tables_than_ours() {
    let directory = Directory::new();
    let config = directory.config();
    drop(Store::open(&config));
    let database = Connection::open(&config.path).expect("a database");
    database
        .execute_batch(
            "DROP TABLE events;
             CREATE VIEW events AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
             SELECT id, 0 AS time_ns, 0 AS port, '' AS kind, '' AS line FROM n;",
        )
        .expect("a view");
    let error = Reader::open(&config.path).expect_err("a view").to_string();
    assert!(error.contains("\"events\" is not what ghostport makes"), "{error}");
    let log = logged(|| assert_eq!(Store::open(&config).keep(&[record(1)], None), 0));
    assert!(log.contains("set aside as"), "{log}");
    assert_eq!(all(&config.path), [record(1).line.json()]);
}

#[test]
fn a_user_may_add_an_index() {
    let directory = Directory::new();
    let config = directory.config();
    assert_eq!(Store::open(&config).keep(&[record(1)], None), 0);
    let database = Connection::open(&config.path).expect("a database");
    database.execute_batch("CREATE INDEX theirs ON events (kind)").expect("an index");
    assert_eq!(Store::open(&config).keep(&[record(2)], None), 0);
    assert_eq!(all(&config.path).len(), 2);
}

#[test]
fn does_not_wait_for_a_fifo() {
    let directory = Directory::new();
    let config = directory.config();
    testkit::sh(&format!("mkfifo {}", config.path.display()));
    let error = Reader::open(&config.path).expect_err("a FIFO").to_string();
    assert!(error.contains("it is not a regular file"), "{error}");
    let log = logged(|| assert_eq!(Store::open(&config).keep(&[record(1)], None), 1));
    assert!(log.contains("it is not a regular file"), "{log}");
}
