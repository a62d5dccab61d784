//! A program that calls in a loop takes nothing from others, and none of its calls goes uncounted.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use rustix::{process::Uid, thread::set_thread_res_uid};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, repeats},
    calls::NOBODY,
    child::forked,
    eventually, is_emulated,
    world::{in_world, port},
};

/// Binds of the process that must not be hidden, and the time between two of them: with their closes
/// they stay within the share of a process.
const BINDS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// How long the others call in a loop.
fn duration() -> Duration {
    Duration::from_secs(if is_emulated() { 12 } else { 6 })
}

/// How long an event may take.
fn limit() -> Duration {
    Duration::from_secs(if is_emulated() { 10 } else { 1 })
}

/// Runs `work` in a loop as an unprivileged user, in a process of its own.
fn flood<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl Fn() + Send + 'scope,
) -> ScopedJoinHandle<'scope, ()> {
    let end = Instant::now() + duration();
    scope.spawn(move || {
        let child = forked(|| {
            let nobody = Uid::from_raw(NOBODY);
            let is_unprivileged = set_thread_res_uid(nobody, nobody, nobody).is_ok();
            while is_unprivileged && Instant::now() < end {
                work();
            }
            is_unprivileged
        });
        assert!(child.is_some(), "nobody is not allowed to flood");
    })
}

/// How many events of a kind the emitted ones stand for.
fn accounted(events: &[Value], kind: &str, is_wanted: impl Fn(&Value) -> bool) -> u64 {
    let name = format!("ghostport.{kind}");
    let wanted = events.iter().filter(|event| event["event.name"] == name && is_wanted(event));
    wanted.map(repeats).sum()
}

/// When so many binds had an event.
type Seen = Vec<(Instant, u64)>;

/// Checks that the event of each bind was there in time.
fn assert_in_time(bound_at: &[Instant], seen: &Seen) {
    for (number, bound_at) in bound_at.iter().enumerate() {
        let in_time = |(at, count): &&(Instant, u64)| {
            *count > number as u64 && at.duration_since(*bound_at) <= limit()
        };
        let latest = seen.last().map(|(_, count)| count);
        assert!(seen.iter().any(|at| in_time(&at)), "bind {number} is late, {latest:?} are there");
    }
}

/// Whether every call on `port` has an event or is in the count of one.
fn is_accounted(agent: &Agent, port: u16) -> bool {
    let (metrics, events) = (agent.metrics(), agent.events());
    let on_port = |event: &Value| event["network.local.port"] == port;
    let label = port.to_string();
    let counted = |name| metrics.sum(name, &[("port", &label)]);
    let calls = accounted(&events, "bind", on_port) + accounted(&events, "bind_failed", on_port);
    calls == counted("ghostport_binds_total")
        && accounted(&events, "close", on_port) == counted("ghostport_closes_total")
}

#[test]
fn a_flood_hides_no_bind_of_another_user_and_is_counted() {
    in_world(|world| {
        let ports = [port(0), port(1), port(2)];
        let agent = Agent::start(world, &Config::new(ports).on(&["lo"]));
        let [flooded, probed, quiet] = ports;
        let local = |port| (Ipv4Addr::LOCALHOST, port);
        let is_ours = |event: &Value| {
            event["process.pid"] == process::id() && event["network.local.port"] == quiet
        };
        let is_done = AtomicBool::new(false);
        let (bound_at, seen) = thread::scope(|scope| {
            let binds = flood(scope, move || drop(UdpSocket::bind(local(flooded))));
            let packets = flood(scope, move || {
                // As many new conversations as there is time for.
                if let Ok(socket) = UdpSocket::bind(local(0)) {
                    let _ = socket.send_to(b"GET / HTTP/1.1\r\n\r\n", local(probed));
                }
            });
            thread::sleep(duration() / 4);
            let watcher = scope.spawn(|| {
                let mut seen = Seen::new();
                while !is_done.load(Ordering::Relaxed) {
                    seen.push((Instant::now(), accounted(&agent.events(), "bind", is_ours)));
                    thread::sleep(Duration::from_millis(20));
                }
                seen
            });
            let bind = |_| {
                let bound_at = Instant::now();
                drop(UdpSocket::bind(local(quiet)).expect("bound"));
                thread::sleep(PAUSE);
                bound_at
            };
            let bound_at: Vec<Instant> = (0..BINDS).map(bind).collect();
            thread::sleep(limit());
            is_done.store(true, Ordering::Relaxed);
            let seen = watcher.join().expect("a watcher");
            binds.join().expect("a flood of binds");
            packets.join().expect("a flood of packets");
            (bound_at, seen)
        });
        assert_in_time(&bound_at, &seen);
        eventually("every call of the flood", || is_accounted(&agent, flooded).then_some(()));
        assert!(is_accounted(&agent, quiet));
        let metrics = agent.metrics();
        assert_eq!(metrics.sum("ghostport_events_lost_total", &[("stage", "ring")]), 0);
        let binds = metrics.sum("ghostport_binds_total", &[("port", &flooded.to_string())]);
        let events = agent.events();
        let on_port = |event: &&Value| event["network.local.port"] == flooded;
        let of_flood = events.iter().filter(on_port).count() as u64;
        println!("{binds} binds of the flood in {of_flood} events");
        assert!(of_flood < binds / 2, "{of_flood} events of {binds} binds");
        assert!(of_flood < 3_000, "{of_flood} events");
    });
}
