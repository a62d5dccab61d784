//! The store on disks that are full or read-only, and `ghostport events`, which reads it.

use std::{
    ffi::CString,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    ops::ControlFlow,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Output, Stdio},
};

use ghostport::{
    config::{DEFAULT_DORMANT_AFTER, StoreConfig},
    store::{Filter, Reader, Record, Store},
};
use jiff::{SignedDuration, Timestamp};
use monitor_ledger::{ClockReading, CounterEpoch, Ledger, Start, Watched};
use rustix::{
    mount::{MountFlags, mount, mount_bind, mount_remount},
    process::{Pid, Signal, kill_process},
};
use testkit::{
    agent::{finish, ghostport, ghostport_on_a_terminal, stderr, stdout},
    attack::{Extent, Verdict, carry_out},
    calls::NOBODY,
    eventually,
    logged::logged,
    world::{World, in_world},
};

fn config(path: PathBuf) -> StoreConfig {
    StoreConfig { path, ..StoreConfig::default() }
}

/// An event of so many minutes ago.
fn event(minutes: i64, kind: &'static str, port: Option<u16>, fields: &str) -> Record {
    let time = Timestamp::now() - SignedDuration::from_mins(minutes);
    let port_field =
        port.map(|port| format!(r#","network.local.port":{port}"#)).unwrap_or_default();
    let comma = if fields.is_empty() { "" } else { "," };
    Record {
        time_ns: time.as_nanosecond() as i64,
        port,
        kind,
        line: format!(
            r#"{{"schema":"ghostport.event/1","time":"{time:.9}","event.name":"ghostport.{kind}"{port_field}{comma}{fields}}}"#
        )
        .into(),
    }
}

fn changes() -> monitor_ledger::Changes {
    let at = ClockReading { wall: Timestamp::now(), boottime_ns: 1 };
    let counters = CounterEpoch { id: "one".into(), adopted: false };
    let mut ledger = Ledger::new(Start { at, boot_id: "boot".into(), counters });
    let dormant_after = DEFAULT_DORMANT_AFTER;
    ledger.watch([Watched { port: 2948, dormant_after, has_owners: false }], at);
    ledger.take_changes()
}

fn lines(path: &Path) -> usize {
    let mut lines = 0;
    let count = |_: &str| {
        lines += 1;
        ControlFlow::Continue(())
    };
    Reader::open(path).expect("a store").each(&Filter::default(), count).expect("lines");
    lines
}

/// A read-only view of a folder.
fn read_only(folder: &Path, at: &Path) {
    fs::create_dir_all(at).expect("a folder");
    mount_bind(folder, at).expect("mounted");
    mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
}

#[test]
fn reports_a_full_disk_once_and_counts_losses() {
    in_world(|world| {
        let disk = world.path("disk");
        fs::create_dir(&disk).expect("a folder");
        let size = CString::from(c"size=600k");
        mount("none", &disk, "tmpfs", MountFlags::empty(), size.as_c_str()).expect("mounted");
        let config = config(disk.join("ghostport.db"));
        let mut store = Store::open(&config);
        let (mut kept, mut lost, mut waits) = (0, 0, Some(changes()));
        let filling = format!(r#""filling":"{}""#, "x".repeat(400));
        let log = logged(|| {
            for _ in 0..300 {
                let records: Vec<Record> =
                    (0..10).map(|_| event(1, "bind", Some(2948), &filling)).collect();
                // Changes that come when there is no room wait.
                let changes = if lost > 0 { waits.take() } else { None };
                let gone = store.keep(&records, changes);
                lost += gone;
                kept += 10 - gone;
            }
        });
        assert!(kept > 0 && lost > 0 && waits.is_none(), "{kept} kept, {lost} lost");
        assert!(log.contains("events are not kept in"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(lines(&config.path) as u64, kept);

        // Room again.
        mount_remount(&disk, MountFlags::empty(), "size=4m").expect("more room");
        let one = [event(1, "bind", Some(2948), "")];
        let log = logged(|| assert_eq!(store.keep(&one, None), 0));
        assert!(log.contains(&format!("again; {lost} were lost")), "{log}");
        assert_eq!(lines(&config.path) as u64, kept + 1);
        assert!(store.ledger().is_some(), "what waited is saved");
    });
}

#[test]
fn reports_a_read_only_disk_once_and_counts_losses() {
    in_world(|world| {
        let view = world.path("view");
        read_only(Path::new(World::DIR), &view);
        for name in ["ghostport.db", "missing/ghostport.db"] {
            let config = config(view.join(name));
            let one = [event(1, "bind", Some(2948), "")];
            let log = logged(|| {
                let mut store = Store::open(&config);
                assert!(store.ledger().is_none());
                assert_eq!(store.keep(&one, None), 1);
                assert_eq!(store.keep(&one, None), 1);
            });
            let of = |file: &str| log.lines().filter(|line| line.contains(file)).count();
            assert_eq!([of(name), of("ghostport-history.db")], [1, 1], "{log}");
            assert_eq!(log.matches("ERROR").count(), 2, "{log}");
        }
    });
}

#[test]
fn reads_a_store_on_a_read_only_disk() {
    in_world(|world| {
        let name = "a b?%#.db";
        let one = [event(1, "bind", Some(2948), "")];
        assert_eq!(Store::open(&config(world.path(name))).keep(&one, None), 0);
        let view = world.path("view");
        read_only(Path::new(World::DIR), &view);
        assert_eq!(lines(&view.join(name)), 1);
    });
}

/// A configuration that names a store, and that store.
fn history(world: &World, records: &[Record]) -> (PathBuf, Store) {
    let path = world.path("ghostport.db");
    let yaml = world.path("ghostport.yaml");
    fs::write(&yaml, format!("store: {{path: {}}}\n", path.display())).expect("written");
    let mut store = Store::open(&config(path));
    assert_eq!(store.keep(records, None), 0);
    (yaml, store)
}

fn events(yaml: &Path, arguments: &[&str]) -> Output {
    finish(ghostport().arg("events").arg("--config").arg(yaml).args(arguments))
}

const NC: &str = r#""network.transport":"tcp","network.local.address":"0.0.0.0","process.pid":4711,"process.executable.name":"nc""#;

fn some() -> Vec<Record> {
    vec![
        event(3000, "agent_started", None, r#""service.version":"0.1.0""#),
        event(90, "bind_failed", Some(2948), &format!(r#"{NC},"ghostport.errno":"EADDRINUSE""#)),
        event(30, "awakened", Some(2949), r#""ghostport.dormant_for_seconds":694800"#),
        event(20, "bind", Some(2949), NC),
        event(
            1,
            "hook_changed",
            None,
            r#""ghostport.hook":"ingress","network.interface.name":"eth0","ghostport.mechanism":"tcx""#,
        ),
    ]
}

#[test]
fn prints_events_as_a_table_that_fits() {
    in_world(|world| {
        let (yaml, _store) = history(world, &some());
        let output = events(&yaml, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let table = stdout(&output);
        // Without the times, which are those of this run.
        let rows: Vec<&str> = table.lines().map(|line| line[20..].trim_end()).collect();
        assert_eq!(
            rows,
            [
                " AGO EVENT               PORT      WHO                                          WHAT",
                "  2d agent_started                                                              0.1.0",
                "  1h bind_failed         2948/tcp  nc[4711]                                     EADDRINUSE",
                " 30m awakened            2949                                                   slept 8d1h",
                " 20m bind                2949/tcp  nc[4711]                                     0.0.0.0",
                "  1m hook_changed                  ingress eth0                                 tcx",
            ]
        );
        let arguments = ["events", "--config", yaml.to_str().expect("a path")];
        let table = stdout(&finish(&mut ghostport_on_a_terminal(&arguments)));
        assert!(table.contains("nc[4711]") && table.contains("slept 8d1h"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    });
}

#[test]
fn filters_events() {
    in_world(|world| {
        let (yaml, _store) = history(world, &some());
        let chosen = |arguments: &[&str]| {
            let output = events(&yaml, &[&["--json"], arguments].concat());
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]).len(), 5);
        assert_eq!(chosen(&["--since", "24h"]).len(), 4);
        assert_eq!(chosen(&["--since", "25m"]).len(), 2);
        assert_eq!(chosen(&["--port", "2949"]).len(), 2);
        let one = chosen(&["--port", "2949", "--kind", "bind", "--since", "1h30m"]);
        let [line] = &one[..] else { panic!("{one:?}") };
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["process.pid"], 4711);
        assert_eq!(chosen(&["--kind", "close"]).len(), 0);
        assert_eq!(chosen(&["--since", "2000-01-01"]).len(), 5);
        assert_eq!(chosen(&["--until", "2000-01-01 03:00"]).len(), 0);
        assert_eq!(chosen(&["--until", "25m"]).len(), 3);
        assert_eq!(chosen(&["--pid", "4711", "--exe", "nc"]).len(), 2);
        assert_eq!(chosen(&["--grep", "eaddrinuse"]).len(), 1);
        assert_eq!(chosen(&["--limit", "2"]), chosen(&[])[3..]);
        let mut all = chosen(&[]);
        all.reverse();
        assert_eq!(chosen(&["--reverse"]), all);
        let export = |arguments: &[&str]| {
            let all = [&["events", "export"], arguments, &["--config"]].concat();
            stdout(&finish(ghostport().args(all).arg(&yaml)))
        };
        let event =
            export(&["--format", "ecs", "--pid", "4711", "--since", "1h30m", "--port", "2949"]);
        let event: serde_json::Value = serde_json::from_str(&event).expect("one object");
        assert_eq!(event["process"]["pid"], 4711);
        assert_eq!(export(&["--format", "cef"]).matches("CEF:0|ghostport|").count(), 5);
    });
}

#[test]
fn says_which_group_may_read_the_store() {
    in_world(|world| {
        let folder = world.path("kept");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o750)).expect("a mode");
        // The group `daemon` is on every host.
        chown(&folder, None, Some(1)).expect("a group");
        let yaml = world.path("kept.yaml");
        let store = folder.join("ghostport.db");
        fs::write(&yaml, format!("store: {{path: {}}}\n", store.display())).expect("written");
        let mut command = ghostport();
        command.args(["events", "--config"]).arg(&yaml).uid(NOBODY).gid(NOBODY);
        let output = command.output().expect("run");
        let why = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{why}");
        assert!(why.contains("ermission denied"), "{why}");
        assert!(why.contains("root and members of the group \"daemon\" may read it"), "{why}");
    });
}

#[test]
fn rejects_invalid_filters() {
    in_world(|world| {
        let (yaml, store) = history(world, &[]);
        let error = |arguments: &[&str]| {
            let output = events(&yaml, arguments);
            assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
            assert_eq!(stdout(&output), "");
            stderr(&output)
        };
        let kinds = error(&["--kind", "birth"]);
        assert!(kinds.contains("unexpected_owner") && kinds.contains("hook_changed"), "{kinds}");
        assert!(error(&["--since", "yesterday"]).contains("7d or 1h30m"));
        assert!(error(&["--port", "0"]).contains("a port from 1 to 65535"));
        drop(store);
        fs::remove_file(world.path("ghostport.db")).expect("removed");
        let missing = error(&[]);
        assert!(missing.contains("there is no store at /run/world/ghostport.db"), "{missing}");
        assert!(missing.contains("ghostport run"), "{missing}");
        fs::write(world.path("ghostport.db"), "x".repeat(5000)).expect("written");
        assert!(error(&[]).contains("cannot read the store at"), "no database");
        fs::write(&yaml, "ports: [x]").expect("written");
        assert!(error(&[]).contains("ghostport.yaml:1:9"));
    });
}

struct Follower(Child, BufReader<ChildStdout>);

impl Follower {
    fn start(yaml: &Path) -> Self {
        let mut command = ghostport();
        command.arg("events").arg("--config").arg(yaml).args(["--follow", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("spawned");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self(child, stdout)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn end(mut self) -> Option<i32> {
        eventually("the end of the follower", || self.0.try_wait().expect("waited")).code()
    }
}

#[test]
fn follow_prints_new_events() {
    in_world(|world| {
        let records = some();
        let (yaml, mut store) = history(world, &records[..1]);
        let mut follower = Follower::start(&yaml);
        assert_eq!(follower.line(), records[0].line.json());
        for record in &records[1..] {
            assert_eq!(store.keep(std::slice::from_ref(record), None), 0);
            assert_eq!(follower.line(), record.line.json());
        }
        // A damaged store is set aside, and another one takes its place.
        drop(store);
        let path = world.path("ghostport.db");
        fs::rename(&path, world.path("aside.db")).expect("renamed");
        let mut store = Store::open(&config(path));
        assert_eq!(store.keep(&records[..1], None), 0);
        assert_eq!(follower.line(), records[0].line.json());
        kill_process(Pid::from_child(&follower.0), Signal::INT).expect("signalled");
        assert_eq!(follower.end(), Some(0));
    });
}

#[test]
fn follow_ends_when_its_output_is_closed() {
    in_world(|world| {
        let records = some();
        let (yaml, _store) = history(world, &records[..1]);
        let mut follower = Follower::start(&yaml);
        assert_eq!(follower.line(), records[0].line.json());
        let Follower(mut child, stdout) = follower;
        drop(stdout);
        let status = eventually("the end of the follower", || child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(0), "without another event");
    });
}

#[test]
#[ignore = "it sets the clock of the machine: cargo xtask vm clock"]
fn a_clock_a_year_ahead_deletes_nothing() {
    let extent = Extent { is_short: true, may_set_clock: true };
    for (attack, measure) in carry_out("a clock a year ahead", extent) {
        assert_eq!(measure.verdict, Verdict::Repelled, "{}: {}", attack.name, measure.seen);
    }
}
