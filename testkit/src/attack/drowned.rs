//! Floods that would displace what matters.

use std::{
    collections::HashSet,
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    measure::{Extent, Measure},
    users::{Loop, bind_once, count, within},
};
use crate::{
    agent::{Agent, Config, finish, ghostport, stdout},
    child::forked,
    frames::plain_udp,
    wire::Wire,
    world::{World, port},
};

/// Events of "yesterday", of another port: fewer than the share of a kind and port of the smallest store.
const YESTERDAY: usize = 20;

/// Other processes that bind at the same time: as many as the kernel side distinguishes at once, also
/// when the loops have used up the share of their control group.
const TOGETHER: u64 = 100;

/// Where others bind.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Where the source address lies in an Ethernet frame without tags.
const SOURCE: std::ops::Range<usize> = 26..30;

/// Four loops of the attacker bind a port, while other processes bind it once each.
pub(super) fn by_loops_of_binds(world: &World, extent: Extent) -> Measure {
    let others = extent.of(100, 1_000);
    let tried = format!("four loops of nobody; {others} binds of {others} other processes");
    let (loud, quiet) = (port(0), port(1));
    // As small as can be configured, so that the flood is many times what has room.
    let config = Config::new([loud, quiet]).with_store_keys("max_size: 1MiB");
    let agent = Agent::start(world, &config);
    for _ in 0..YESTERDAY {
        forked(|| bind_once(HERE, quiet)).expect("bound");
    }
    within(|| (count(&agent.events(), "bind", quiet) == YESTERDAY).then_some(()));
    // Each has an address of its own, so that no bind is refused.
    let loops: Vec<Loop> = (1..=4)
        .map(|last| Loop::start(move || _ = bind_once(Ipv4Addr::new(127, 0, 1, last), loud)))
        .collect();
    let began = Instant::now();
    let mut processes: HashSet<u64> = HashSet::new();
    let with_event = |processes: &HashSet<u64>| {
        let events = agent.events();
        let found: HashSet<u64> = events.iter().filter_map(|event| bound_by(event, loud)).collect();
        processes.intersection(&found).count()
    };
    let mut all_told = true;
    while all_told && (processes.len() as u64) < others {
        processes.extend(
            (0..TOGETHER).map(|_| u64::from(forked(|| bind_once(HERE, loud)).expect("bound"))),
        );
        all_told = within(|| (with_event(&processes) == processes.len()).then_some(())).is_some();
    }
    drop(loops);
    let took = began.elapsed();
    let (told, binds) = (with_event(&processes), of_port(&agent, "ghostport_binds_total", loud));
    let lost = agent.metrics().sum("ghostport_events_lost_total", &[]);
    let bytes = fs::metadata(world.path("events.jsonl")).map_or(0, |file| file.len());
    let kept = stored(world, &config, quiet);
    let rate = binds as f64 / took.as_secs_f64();
    let seen = format!(
        "{binds} binds ({rate:.0} a second) made {} KB of events; {told} of {others} with an event, \
         {kept} of {YESTERDAY} earlier ones still stored, {lost} lost",
        bytes / 1000
    );
    Measure::new(tried, seen, all_told && kept == YESTERDAY && lost == 0)
}

/// The process behind the bind of an event, summed up or not.
fn bound_by(event: &Value, port: u16) -> Option<u64> {
    let is_bind = event["event.name"] == "ghostport.bind" && event["network.local.port"] == port;
    event["process.pid"].as_u64().filter(|_| is_bind)
}

fn of_port(agent: &Agent, metric: &str, port: u16) -> u64 {
    agent.metrics().sum(metric, &[("port", &port.to_string())])
}

/// Binds of a port in the store.
fn stored(world: &World, config: &Config, port: u16) -> usize {
    let mut command = ghostport();
    command.args(["events", "--json", "--kind", "bind", "--port", &port.to_string(), "--config"]);
    stdout(&finish(command.arg(config.write(world)))).lines().count()
}

/// Datagrams of forged sources, each of which would be a conversation.
pub(super) fn by_forged_datagrams(world: &World, extent: Extent) -> Measure {
    let datagrams = extent.of(3_000, 30_000) as u32;
    let tried = format!("{datagrams} datagrams, each of another forged network");
    let peer = world.peer();
    let config = Config::new([port(0)]).on(&["gp0"]).identified("first");
    let agent = Agent::start(world, &config);
    // Sampling begins with the first reading of the counters.
    thread::sleep(Duration::from_millis(1_500));
    let began = Instant::now();
    let watched = port(0);
    peer.run(move || {
        let wire = Wire::open("peer0");
        let mut frame = plain_udp(9200, watched);
        for number in 0..datagrams {
            let source = Ipv4Addr::from(0x1400_0000 + (number << 8));
            frame[SOURCE].copy_from_slice(&source.octets());
            wire.send(&frame);
            // 300 a second would take long; what is measured does not depend on it.
            thread::sleep(Duration::from_micros(200));
        }
    });
    let counted = within(|| {
        let counted = agent.metrics().sum("ghostport_packets_total", &[("direction", "ingress")]);
        (counted >= datagrams.into()).then_some(counted)
    });
    let seconds = began.elapsed().as_secs_f64();
    let bytes = fs::metadata(world.path("events.jsonl")).map_or(0, |file| file.len());
    let events = agent.count_events("identified");
    // What the first of each network take at most: 4,096 of them. The rest is summed up.
    let seen = format!(
        "{} counted in {seconds:.0} s; {events} events, {} KB",
        counted.unwrap_or(0),
        bytes / 1000
    );
    let is_bounded = events <= 4_097 + 64 && bytes < 10_000_000;
    Measure::new(tried, seen, counted == Some(datagrams.into()) && is_bounded)
}
