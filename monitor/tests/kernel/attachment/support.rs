//! Frames that are sent, and what is attached to an interface.

use std::collections::BTreeSet;

use aya::programs::TcAttachType;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json},
    eventually,
    frames::plain_udp,
    programs::tcx_programs,
    sh,
    wire::Wire,
    world::{Peer, World, port},
};

pub(super) const BOTH_WAYS: [TcAttachType; 2] = [TcAttachType::Ingress, TcAttachType::Egress];

pub(super) fn watched() -> u16 {
    port(0)
}

pub(super) fn frame() -> Vec<u8> {
    plain_udp(port(1), watched())
}

/// Sends `times` frames from the peer.
pub(super) fn send(peer: &Peer, interface: &'static str, times: u32) {
    peer.run(move || {
        let wire = Wire::open(interface);
        (0..times).for_each(|_| wire.send(&frame()));
    });
}

/// Packets that were counted on an interface, in one direction.
pub(super) fn packets(agent: &Agent, interface: &str, direction: &str) -> u64 {
    let labels = [("interface", interface), ("direction", direction)];
    agent.metrics().sum("ghostport_packets_total", &labels)
}

pub(super) fn binds(agent: &Agent) -> u64 {
    let labels = [("port", &*watched().to_string()), ("result", "success")];
    agent.metrics().sum("ghostport_binds_total", &labels)
}

#[track_caller]
pub(super) fn await_packets(agent: &Agent, interface: &str, amount: u64) {
    eventually("packets", || (packets(agent, interface, "ingress") >= amount).then_some(()));
    assert_eq!(packets(agent, interface, "ingress"), amount);
}

/// Interfaces with both traffic hooks attached.
pub(super) fn hooked(agent: &Agent) -> BTreeSet<String> {
    let metrics = agent.metrics();
    let attached = |hook: &str| -> BTreeSet<String> {
        metrics
            .series
            .iter()
            .filter(|(name, labels, value)| {
                name == "ghostport_hook_attached" && labels["hook"] == hook && *value == 1.0
            })
            .map(|(_, labels, _)| labels["interface"].clone())
            .collect()
    };
    &attached("ingress") & &attached("egress")
}

#[track_caller]
pub(super) fn await_hooked(agent: &Agent, interfaces: &[&str]) {
    let wanted: BTreeSet<String> = interfaces.iter().map(|name| (*name).to_owned()).collect();
    let what = format!("hooks on {interfaces:?} alone");
    eventually(&what, || (hooked(agent) == wanted).then_some(()));
}

/// What is attached to an interface of this thread's namespace, as other tools see it. Programs of
/// ghostport have its programs' names.
pub(super) fn programs_on(interface: &str) -> String {
    let link = sh(&format!("ip -details link show dev {interface}"));
    let xdp = link.lines().filter(|line| line.contains("prog/xdp")).map(str::to_owned);
    let tcx = BOTH_WAYS.into_iter().flat_map(|way| {
        tcx_programs(interface, way).into_iter().map(move |id| format!("tcx {way:?} {id}"))
    });
    let filters =
        ["ingress", "egress"].map(|way| sh(&format!("tc filter show dev {interface} {way}")));
    let all: Vec<String> = xdp.chain(tcx).chain(filters).collect();
    all.join("\n").trim().to_owned()
}

pub(super) fn has_clsact(interface: &str) -> bool {
    sh(&format!("tc qdisc show dev {interface}")).contains("clsact")
}

pub(super) fn veth_world(world: &World, config: &Config) -> (Peer, Agent) {
    let peer = Peer::alone();
    world.veth("gp0", &peer, "peer0");
    (peer, Agent::start(world, config))
}

pub(super) fn config() -> Config {
    Config::new([watched()]).on(&["gp*"])
}

/// The exit code of `doctor`, and its document.
pub(super) fn doctor_document(world: &World) -> (Option<i32>, Value) {
    let path = config().write(world);
    let output = finish(ghostport().args(["doctor", "--json", "--config"]).arg(path));
    (output.status.code(), json(&output))
}

/// What doctor says of one fact.
pub(super) fn doctors_fact(world: &World, name: &str) -> Value {
    let (_, document) = doctor_document(world);
    let facts = document["facts"].as_array().expect("facts");
    facts.iter().find(|fact| fact["name"] == name).expect("a fact").clone()
}
