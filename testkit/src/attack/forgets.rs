//! The history.

use std::{fs, process::Output, thread, time::Duration};

use rusqlite::Connection;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use super::{
    measure::{Extent, Measure},
    users::{bind_times, count, within},
};
use crate::{
    agent::{Agent, Config, finish, ghostport, stderr, stdout},
    sh,
    world::{World, port},
};

const YEAR: i64 = 365 * 86_400;

fn config() -> Config {
    Config::new([port(0)])
}

/// `ghostport events` with these arguments.
fn events(world: &World, arguments: &[&str]) -> Output {
    let mut command = ghostport();
    command.args(["events", "--json", "--config"]).arg(config().write(world)).args(arguments);
    finish(&mut command)
}

/// What it makes of what is in the store's place: whether it ended by itself, and what it said.
fn read(world: &World) -> (bool, String) {
    let output = events(world, &[]);
    (output.status.code().is_some(), stderr(&output))
}

/// A FIFO, a folder and bytes in place of the database.
pub(super) fn by_another_store(world: &World, _: Extent) -> Measure {
    let path = world.path("ghostport.db");
    let mut said = Vec::new();
    let mut place = |what: &str, put: &dyn Fn()| {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
        put();
        let (ended, text) = read(world);
        // An agent starts beside it, and keeps its events elsewhere or counts them as lost.
        let agent = Agent::start(world, &config());
        bind_times(port(0), 1);
        let works = within(|| (count(&agent.events(), "bind", port(0)) > 0).then_some(()));
        let fine = ended && !text.is_empty() && agent.terminate().success() && works.is_some();
        let _ = fs::remove_file(world.path("events.jsonl"));
        said.push(format!("{what}: {}", if fine { "refused" } else { "HANGS" }));
        fine
    };
    let outcomes = [
        place("a FIFO", &|| {
            sh(&format!("mkfifo {}", path.display()));
        }),
        place("a folder", &|| fs::create_dir(&path).expect("a folder")),
        place("other bytes", &|| fs::write(&path, [0xff; 9000]).expect("written")),
    ];
    let seen = said.join(", ");
    Measure::new("something else in the store's place", seen, outcomes.iter().all(|fine| *fine))
}

/// Rows and tables that others put into the database.
pub(super) fn by_bad_rows_and_views(world: &World, _: Extent) -> Measure {
    let agent = Agent::start(world, &config());
    bind_times(port(0), 20);
    within(|| (count(&agent.events(), "bind", port(0)) == 20).then_some(()));
    assert!(agent.terminate().success());
    let database = Connection::open(world.path("ghostport.db")).expect("a database");
    let bad = "UPDATE events SET line = CAST(x'ff7b' AS TEXT)
        WHERE id = (SELECT min(id) FROM events WHERE kind = 'bind')";
    database.execute(bad, []).expect("changed");
    let output = events(world, &["--kind", "bind"]);
    let shown = stdout(&output).lines().count();
    let is_said = stderr(&output).contains("1 damaged");
    let view = "DROP TABLE events; CREATE VIEW events AS
        WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, 0 AS time_ns, 0 AS port, '' AS kind, '' AS line FROM n";
    database.execute_batch(view).expect("changed");
    drop(database);
    let (ended, text) = read(world);
    let refused = ended && text.contains("not what ghostport makes");
    let what = if refused { "refused" } else { "NOT refused" };
    let seen = format!("{shown} of 19 good events shown; the view is {what}");
    let tried = "a row that is not UTF-8, and a view without an end in place of the events";
    Measure::new(tried, seen, shown == 19 && is_said && refused)
}

/// The clock of the machine is set, and set back.
struct ClockAhead {
    boottime: Timespec,
    real: Timespec,
}

impl ClockAhead {
    fn set() -> Self {
        let (boottime, real) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Realtime));
        let ahead = Timespec { tv_sec: real.tv_sec + YEAR, ..real };
        clock_settime(ClockId::Realtime, ahead).expect("the clock");
        Self { boottime, real }
    }
}

impl Drop for ClockAhead {
    fn drop(&mut self) {
        let passed = clock_gettime(ClockId::Boottime).tv_sec - self.boottime.tv_sec;
        let back = Timespec { tv_sec: self.real.tv_sec + passed, ..self.real };
        let _ = clock_settime(ClockId::Realtime, back);
    }
}

/// Every event is older than `store.retain`, if the clock is to be believed.
pub(super) fn by_a_clock_ahead(world: &World, extent: Extent) -> Measure {
    let tried = "the clock a year ahead, while the agent starts, keeps events and stops";
    if !extent.may_set_clock {
        return Measure::skipped(tried, "it sets the machine's clock: --set-clock");
    }
    let stored = || stdout(&events(world, &["--kind", "bind"])).lines().count();
    let agent = Agent::start(world, &config());
    bind_times(port(0), 20);
    within(|| (count(&agent.events(), "bind", port(0)) == 20).then_some(()));
    assert!(agent.terminate().success());
    let before = stored();
    {
        let _ahead = ClockAhead::set();
        let agent = Agent::start(world, &config());
        bind_times(port(0), 5);
        thread::sleep(Duration::from_secs(3));
        assert!(agent.terminate().success());
    }
    let after = stored();
    let seen = format!("{before} events before, {after} after");
    Measure::new(tried, seen, before == 20 && after == 25)
}
