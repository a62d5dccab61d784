//! Every port is watched, and every port is scanned. The events stay bounded, and none is lost.
//!
//! `cargo test --release --test kernel -- --nocapture many_ports` says what it takes.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use ghostport::api::port::Ports;
use monitor_ledger::PortState;
use testkit::{
    agent::{Agent, Config, LISTEN},
    eventually_within,
    world::in_world,
};

/// Ports from 1 on: all of them, but for a build that is not optimised, which takes ten times as
/// long. Many more than a queue has room for in any case.
const LAST: u16 = if cfg!(debug_assertions) { 10_000 } else { u16::MAX };

/// What a scrape and an answer of the API may take, with a build that is not optimised.
const LIMIT: Duration = Duration::from_secs(25);

/// What it may take until every event is written.
const BURST: Duration = Duration::from_secs(120);

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A connection attempt for each of `ports`. Nearly all are refused; one whose own port is the one
/// that it asks for is not.
fn scan(ports: &[u16]) {
    for port in ports {
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, *port));
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let taken = start.elapsed();
    eprintln!("{what}: {:.1} s", taken.as_secs_f32());
    assert!(taken < LIMIT, "{what}: {taken:?}");
    result
}

#[test]
fn reports_a_scan_of_all_ports_without_loss() {
    in_world(|world| {
        let ports: Vec<u16> = (1..=LAST).filter(|port| *port != LISTEN).collect();
        let config = Config::new(ports.clone()).on(&["lo"]);
        let agent = Agent::start(world, &config);
        let before = timed("a scrape before", || agent.metrics());
        let of_ports = before.series.iter().filter(|(_, labels, _)| labels.contains_key("port"));
        // The ports from which this test asks are watched, too.
        let seen: BTreeSet<&str> = of_ports.map(|(_, labels, _)| &*labels["port"]).collect();
        assert!(seen.len() < 100, "{seen:?}");

        scan(&ports);
        let awakened = || {
            let count = agent.count_events("awakened");
            eprintln!("{count} awakenings");
            thread::sleep(Duration::from_secs(1));
            (count == ports.len()).then_some(())
        };
        eventually_within(BURST, "an awakening of every port", awakened);

        let metrics = timed("a scrape", || agent.metrics());
        eprintln!("{} series, {} bytes", metrics.series.len(), metrics.text.len());
        // Another process on this machine may bind one of them first.
        let awakenings = metrics.sum("ghostport_awakenings_total", &[]);
        assert_eq!(awakenings, ports.len() as u64);
        let probed = metrics.sum("ghostport_port_state", &[("state", "probed")]);
        assert!(probed > awakenings - 100, "{probed}");
        let attempts = [("direction", "ingress"), ("side", "local")];
        let attempts = metrics.sum("ghostport_connection_attempts_total", &attempts);
        assert_eq!(attempts, ports.len() as u64);
        assert_eq!(metrics.sum("ghostport_events_lost_total", &[]), 0, "{}", agent.log());

        let answer = timed("an answer of the API", || agent.get("/api/v1/ports"));
        let view: Ports = answer.json();
        // The harness may watch one port more.
        let watched = view.ports.iter().filter(|port| port.port <= LAST);
        let states: Vec<PortState> = watched.map(|port| port.state.expect("a state")).collect();
        assert_eq!(states.len(), ports.len());
        assert!(states.iter().all(|state| *state != PortState::Quiet));

        let stored = agent.get("/api/v1/events?kind=awakened&limit=1");
        assert!(stored.body.contains("ghostport.awakened"), "{}", stored.body);
        let memory = agent.metrics().value("process_resident_memory_bytes", &[]) / MEBIBYTE;
        eprintln!("{memory:.0} MiB");
        assert!(memory < 300.0, "{memory} MiB");
    });
}
