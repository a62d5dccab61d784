//! What each mechanism reports of the script, beside what is declared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, expect_sockets},
    calls::{Call, MECHANISMS, compared, difference, privileged},
    is_emulated,
    metrics::{Counts, since},
    world::{World, in_world, port},
};

use super::script::SCRIPT;

/// What a mechanism did not report of a step, or reported in excess: short, for the table, and in
/// full.
struct Difference {
    words: BTreeSet<String>,
    details: String,
}

/// What one mechanism made of the script.
struct Performance {
    /// By step, of those that this kernel can do.
    differences: BTreeMap<&'static str, Difference>,
    /// What the mechanism has no part in, if anything.
    disturbance: Option<String>,
}

/// How often a mechanism performs at most: a disturbance says nothing about it.
const PERFORMANCES: usize = 3;

/// An agent that is forced to one mechanism, or why it cannot be.
fn forced(world: &World, mechanism: &'static str, ports: &[u16]) -> Result<Agent, String> {
    let agent = Agent::start(world, &Config::new(ports.to_vec()).mechanism(mechanism));
    let metrics = agent.metrics();
    let serves = |hook| metrics.mechanism(hook, None).as_deref() == Some(mechanism);
    if serves("bind") && serves("close") {
        return Ok(agent);
    }
    let events = agent.events();
    let hooks = events.iter().filter_map(|event| event["ghostport.hooks"].as_array()).flatten();
    let reasons: Vec<String> = hooks
        .filter(|hook| !hook["reason"].is_null())
        .map(|hook| format!("{} {}", hook["hook"], hook["reason"]))
        .collect();
    Err(reasons.join(", "))
}

fn perform(world: &World, mechanism: &'static str) -> Result<Performance, String> {
    let ports: Vec<u16> = (0..90).map(port).chain([privileged()]).collect();
    let agent = forced(world, mechanism, &ports)?;
    let mut differences = BTreeMap::new();
    let skipped = skipped_calls(&agent);
    let mut seen = agent.socket_events().len();
    let mut counted = agent.metrics().sockets(&ports);
    for (step, act) in SCRIPT {
        let calls = act();
        let events = agent.socket_events();
        let told: Vec<Value> = events[seen..].iter().map(compared).collect();
        seen = events.len();
        let counts = agent.metrics().sockets(&ports);
        assert_eq!(since(&counted, &counts), counts_of(&told), "{mechanism}, {step}: counters");
        counted = counts;
        if let Some(calls) = calls {
            let expected: Vec<Value> = calls.iter().map(Call::event).collect();
            let words = in_words(&told, &expected);
            let details = difference(&told, &expected);
            differences.insert(*step, Difference { words, details });
        }
    }
    let anonymous = agent.socket_events().iter().filter(|event| is_anonymous_close(event)).count();
    assert!(anonymous <= 2, "{mechanism}: {anonymous} closes without a process");
    let skipped = skipped_calls(&agent) - skipped;
    let disturbance = (anonymous > 0 || skipped > 0).then(|| {
        format!("{anonymous} closes during the agent's scan, {skipped} calls skipped by the kernel")
    });
    assert!(agent.terminate().success());
    Ok(Performance { differences, disturbance })
}

/// Calls for which the kernel says that it did not run a program.
fn skipped_calls(agent: &Agent) -> u64 {
    agent.metrics().sum("ghostport_kernel_errors_total", &[("cause", "call_missed")])
}

/// Performs once, and again if what is found is not what is declared and there was a disturbance.
/// Returns what is wrong as well.
fn perform_undisturbed(
    mechanism: &'static str,
    declared: &BTreeMap<(String, &'static str), BTreeSet<String>>,
) -> Result<(Performance, Vec<String>), String> {
    let mut remaining = PERFORMANCES;
    loop {
        let mut outcome = None;
        in_world(|world| outcome = Some(perform(world, mechanism)));
        let performance = outcome.expect("a performance")?;
        let wrong = undeclared(mechanism, &performance.differences, declared);
        remaining -= 1;
        match &performance.disturbance {
            Some(disturbance) if !wrong.is_empty() && remaining > 0 => {
                eprintln!("{mechanism}: once more, {disturbance}:\n{}", wrong.concat());
            }
            _ => return Ok((performance, wrong)),
        }
    }
}

/// The counters that belong to these events.
fn counts_of(events: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for event in events {
        let text = |key: &str| event[key].as_str().expect("a text").to_owned();
        let kind = text("event.name");
        let what = match kind.trim_start_matches("ghostport.") {
            "bind" | "bind_failed" => text("ghostport.result"),
            kind => kind.to_owned(),
        };
        let port = event["network.local.port"].as_u64().expect("a port") as u16;
        expect_sockets(&mut counts, port, &what, &text("network.transport"), 1);
    }
    counts
}

/// In the words of the table in `docs/operate/socket-calls.md`: `no close`, for instance.
fn in_words(told: &[Value], expected: &[Value]) -> BTreeSet<String> {
    let kind = |event: &Value| {
        let name = event["event.name"].as_str().expect("a name");
        name.trim_start_matches("ghostport.").to_owned()
    };
    let mut surplus = told.to_vec();
    let mut found = BTreeSet::new();
    let mut common = Vec::new();
    for event in expected {
        match surplus.iter().position(|told| is_same(told, event)) {
            Some(position) => common.push(surplus.remove(position)),
            None => {
                found.insert(format!("no `{}`", kind(event)));
            }
        }
    }
    found.extend(surplus.iter().map(|event| format!("another `{}`", kind(event))));
    if found.is_empty() && told != common {
        found.insert("another order".to_owned());
    }
    found
}

/// Whether this event reports the expected call. A scan of the agent holds a socket for a moment; if
/// it is closed just then, the agent releases it: later, and the process that closed it is unknown.
fn is_same(told: &Value, expected: &Value) -> bool {
    let mut expected = expected.clone();
    if is_anonymous_close(told) {
        let fields = expected.as_object_mut().expect("an object");
        fields.retain(|key, _| !key.starts_with("process.") && !key.starts_with("thread."));
    }
    *told == expected
}

fn is_anonymous_close(event: &Value) -> bool {
    event["event.name"] == "ghostport.close" && event.get("process.pid").is_none()
}

const PAGE: &str = include_str!("../../../../docs/operate/socket-calls.md");

/// The table of differences: by step and mechanism.
fn declared() -> BTreeMap<(String, &'static str), BTreeSet<String>> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with("| step |"));
    let mut rows = rows.map_while(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let head = cells(rows.next().expect("a table"));
    assert_eq!(head[1..], MECHANISMS, "the columns of the table");
    let mut declared = BTreeMap::new();
    for row in rows.skip(1) {
        let row = cells(row);
        assert!(SCRIPT.iter().any(|(step, _)| *step == row[0]), "no step: {}", row[0]);
        for (mechanism, cell) in MECHANISMS.into_iter().zip(&row[1..]) {
            let differences = cell.split(", ").filter(|word| !word.is_empty()).map(str::to_owned);
            declared.insert((row[0].clone(), mechanism), differences.collect());
        }
    }
    declared
}

/// Mechanisms that have to work: two everywhere, and in guests, whose kernels are known, all of them.
/// Trampolines on arm64 are of Linux 6.4.
fn must_work() -> &'static [&'static str] {
    if !is_emulated() {
        &["cgroup", "tracepoint"]
    } else if cfg!(target_arch = "x86_64") {
        &MECHANISMS
    } else {
        &["kprobe", "cgroup", "tracepoint"]
    }
}

#[test]
fn every_mechanism_reports_the_same_events_but_for_declared_differences() {
    let declared = declared();
    let mut worked = Vec::new();
    let mut wrong = Vec::new();
    for mechanism in MECHANISMS {
        match perform_undisturbed(mechanism, &declared) {
            Err(reason) => eprintln!("{mechanism}: refused: {reason}"),
            Ok((performance, undeclared)) => {
                let steps = SCRIPT.iter().map(|(step, _)| *step);
                let impossible: Vec<&str> =
                    steps.filter(|step| !performance.differences.contains_key(step)).collect();
                eprintln!("{mechanism}: works; impossible on this kernel: {impossible:?}");
                worked.push(mechanism);
                wrong.extend(undeclared);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
    for mechanism in must_work() {
        assert!(worked.contains(mechanism), "{mechanism} does not work, only {worked:?}");
    }
}

/// Where a mechanism and the table disagree, one way or the other.
fn undeclared(
    mechanism: &'static str,
    differences: &BTreeMap<&'static str, Difference>,
    declared: &BTreeMap<(String, &'static str), BTreeSet<String>>,
) -> Vec<String> {
    let none = BTreeSet::new();
    let wrong = differences.iter().filter_map(|(step, Difference { words, details })| {
        let declared = declared.get(&((*step).to_owned(), mechanism)).unwrap_or(&none);
        (words != declared).then(|| {
            format!("{step}, {mechanism}: found {words:?}, declared {declared:?}\n{details}\n")
        })
    });
    wrong.collect()
}
