//! Programs that are gone when their events are read.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, repeats},
    eventually_within, patience, scaled,
    world::in_world,
};

use super::support::watched;

/// Many programs bind and exit at once. Each event has the name and the command line of its own
/// process; what is beyond the share of their user is summed up, and nothing goes uncounted.
#[test]
fn names_programs_that_end_at_once() {
    let programs = scaled(10_000).max(100);
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([watched()]));
        run_many(programs, 50, BINDER, "");
        let lost = || agent.metrics().sum("ghostport_events_lost_total", &[]);
        // A preemptible kernel may leave calls out, and says how many.
        let missed =
            || agent.metrics().sum("ghostport_kernel_errors_total", &[("cause", "call_missed")]);
        eventually_within(patience() * 4, "every bind", || {
            (accounted(&binds(&agent)) + lost() + missed() >= programs).then_some(())
        });
        assert_eq!(lost(), 0, "{}", agent.log());
        let binds = binds(&agent);
        let total = accounted(&binds);
        assert!(total <= programs && total + missed() >= programs, "{total} of {programs}");
        let single = singles(&binds);
        let numbers: BTreeSet<u64> = single.iter().map(|bind| number_of(bind)).collect();
        assert_eq!(numbers.len(), single.len(), "a program has two events");
        assert!(numbers.iter().all(|number| *number < programs), "{numbers:?}");
        assert!(numbers.len() >= 100, "only {} have an event of their own", numbers.len());
    });
}

/// How many binds these events stand for.
fn accounted(binds: &[Value]) -> u64 {
    binds.iter().map(repeats).sum()
}

/// A process that executes another program right after its bind is reported as the program that bound.
#[test]
fn does_not_blame_a_program_executed_after_the_bind() {
    let programs = scaled(300).max(20);
    in_world(|world| {
        let other = world.path("other");
        fs::copy("/usr/bin/perl", &other).expect("copied");
        let agent = Agent::start(world, &Config::new([watched()]));
        let binder = format!("{BINDER}';exec {{$ARGV[2]}} qw(perl -e 1)'");
        run_many(programs, 20, &binder, &other.display().to_string());
        eventually_within(patience() * 4, "every bind", || {
            (accounted(&binds(&agent)) >= programs).then_some(())
        });
        let binds = binds(&agent);
        let single = singles(&binds);
        assert!(single.len() >= programs.min(100) as usize, "only {} events", single.len());
        for event in single {
            number_of(event);
        }
    });
}

/// Those of one process. Programs beyond the share of their user have a sum, and a sum has no command
/// line, even if it is of one call.
fn singles(binds: &[Value]) -> Vec<&Value> {
    binds.iter().filter(|bind| !bind["process.command_args"].is_null()).collect()
}

/// Runs so many programs, some of them at once: each is given the port, a number, and what follows.
fn run_many(programs: u64, at_once: u64, program: &str, rest: &str) {
    let port = watched();
    let script = format!(
        "i=0; while [ $i -lt {programs} ]; do {program} {port} $i {rest} & i=$((i+1)); \
         [ $((i % {at_once})) = 0 ] && wait; done; wait",
    );
    let status = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status();
    assert!(status.expect("sh").success());
}

/// Every bind that was reported, refused or not.
fn binds(agent: &Agent) -> Vec<Value> {
    let is_bind = |event: &Value| {
        event["event.name"] == "ghostport.bind" || event["event.name"] == "ghostport.bind_failed"
    };
    agent.events().into_iter().filter(is_bind).collect()
}

/// A program that binds a UDP socket to the port that it is given, and ends; a number follows.
const BINDER: &str = r#"perl -e 'socket(S,2,2,17);bind(S,pack("Sna4x8",2,$ARGV[0],"\x7f\0\0\1"))'"#;

/// The number that a program was given, from its command line; checks that the rest is its own.
#[track_caller]
fn number_of(event: &Value) -> u64 {
    assert_eq!(event["process.executable.name"], "perl", "{event}");
    assert_eq!(event["process.user.name"], "root", "{event}");
    assert!(event["process.parent_pid"].is_u64(), "{event}");
    assert!(event["process.linux.cgroup"].is_string(), "{event}");
    if let Some(path) = event.get("process.executable.path") {
        assert!(path.as_str().is_some_and(|path| path.ends_with("/perl")), "{event}");
    }
    let args = event["process.command_args"].as_array().expect("a command line");
    args[4].as_str().and_then(|number| number.parse().ok()).expect("a number")
}
