//! Who talks on a port, as the API tells it.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use monitor_common::flow::{Direction, Protocol};
use serde::Serialize;

use super::api::Talkers;
use monitor_kernel::{
    clock,
    sources::{TalkerFacts, begin_of},
};

/// The remote addresses of one port and protocol.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PortTalkers {
    pub(super) port: u16,
    pub(super) transport: &'static str,
    /// Distinct addresses in the last five minutes, an estimate; absent for ports of which none is
    /// kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sources: Option<u64>,
    pub(super) talkers: Vec<TalkerView>,
}

/// One remote address.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TalkerView {
    pub(super) address: IpAddr,
    pub(super) packets_received: u64,
    pub(super) bytes_received: u64,
    pub(super) packets_transmitted: u64,
    pub(super) bytes_transmitted: u64,
    /// What it sent before is not counted. Known to 100 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counted_since: Option<Timestamp>,
}

/// Facts in the order of ports, `limit` talkers of each port and protocol.
pub(super) fn by_port(facts: &Talkers, only: Option<u16>, limit: usize) -> Vec<PortTalkers> {
    let (now, boottime_ns) = (Timestamp::now(), clock::boottime_ns());
    let wanted = |port: u16| only.is_none_or(|only| only == port);
    let mut ports: BTreeMap<(u16, Protocol), PortTalkers> = BTreeMap::new();
    let new = |port: u16, protocol: Protocol| PortTalkers {
        port,
        transport: protocol.name(),
        sources: None,
        talkers: Vec::new(),
    };
    for row in facts.sources.iter().filter(|row| wanted(row.port)) {
        let port =
            ports.entry((row.port, row.protocol)).or_insert_with(|| new(row.port, row.protocol));
        port.sources = Some(row.addresses);
    }
    for talker in facts.talkers.iter().filter(|talker| wanted(talker.port)) {
        let key = (talker.port, talker.protocol);
        let port = ports.entry(key).or_insert_with(|| new(talker.port, talker.protocol));
        if port.talkers.len() < limit {
            port.talkers.push(TalkerView::new(talker, now, boottime_ns));
        }
    }
    ports.into_values().collect()
}

impl TalkerView {
    fn new(facts: &TalkerFacts, now: Timestamp, boottime_ns: u64) -> Self {
        let [ingress, egress] = Direction::ALL.map(|direction| direction as usize);
        Self {
            address: facts.address,
            packets_received: facts.packets[ingress],
            bytes_received: facts.bytes[ingress],
            packets_transmitted: facts.packets[egress],
            bytes_transmitted: facts.bytes[egress],
            counted_since: begin_of(facts.first_window, now, boottime_ns),
        }
    }
}
