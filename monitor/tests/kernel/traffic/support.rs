//! The ports, the interfaces and the questions that these tests share.

use std::{thread, time::Duration};

use testkit::{
    agent::{Agent, Config},
    kernel::is_at_least,
    metrics::{Counts, Metrics},
    world::{Peer, World, port},
};

pub(super) fn first() -> u16 {
    port(0)
}

pub(super) fn second() -> u16 {
    port(1)
}

pub(super) fn other() -> u16 {
    port(2)
}

pub(super) fn watched() -> [u16; 2] {
    [first(), second()]
}

/// A veth pair with an agent that counts on `gp0`; the other end is `peer0`.
pub(super) fn veth_world(world: &World, mode: &'static str) -> (Peer, Agent) {
    let peer = world.peer();
    let agent = Agent::start(world, &Config::new(watched()).on(&["gp0"]).mode(mode));
    (peer, agent)
}

pub(super) fn assert_mechanism(agent: &Agent, hook: &str, interface: &str, mechanism: &str) {
    let found = agent.metrics().mechanism(hook, Some(interface));
    assert_eq!(found.as_deref(), Some(mechanism), "{hook} of {interface}");
}

/// Failures of the kernel side by their causes, without those that did not happen.
///
/// From Linux 7 on, without socket calls for which the kernel skipped the program either: a preemptible
/// kernel, as those are by default, does so while another task on the same CPU is in it, and none of
/// these calls is of a test of packets.
pub(super) fn kernel_errors(metrics: &Metrics) -> Counts {
    let failed = metrics
        .series
        .iter()
        .filter(|(name, _, value)| name == "ghostport_kernel_errors_total" && *value != 0.0);
    let failed = failed.map(|(_, labels, value)| (labels["cause"].clone(), *value as u64));
    let is_skipped = |cause: &str| cause == "call_missed" && is_at_least(7, 0);
    failed.filter(|(cause, _)| !is_skipped(cause)).collect()
}

/// Waits until the farewell of a connection is over.
pub(super) fn settle() {
    thread::sleep(Duration::from_millis(100));
}

pub(super) fn traffic_of(
    metrics: &Metrics,
    interface: &str,
    protocol: &str,
    direction: &str,
    side: &str,
) -> (u64, u64) {
    let port = first().to_string();
    let labels = [
        ("interface", interface),
        ("port", port.as_str()),
        ("protocol", protocol),
        ("direction", direction),
        ("side", side),
    ];
    let value = |name| metrics.sum(name, &labels);
    (value("ghostport_packets_total"), value("ghostport_bytes_total"))
}
