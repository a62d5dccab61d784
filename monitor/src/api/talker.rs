//! The remote addresses that exchange packets with a port.

use std::net::IpAddr;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use super::named;

/// The answer of `/api/v1/talkers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Talkers {
    /// In ascending order, TCP before UDP.
    pub ports: Vec<PortTalkers>,
}

/// The remote addresses of one port and protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTalkers {
    /// The watched port.
    pub port: u16,
    /// Transport protocol.
    #[serde(with = "named")]
    pub transport: Protocol,
    /// Estimate of the distinct addresses in the last five minutes; absent for a port without a
    /// sketch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sources: Option<u64>,
    /// Those with the most packets, most first.
    pub talkers: Vec<Talker>,
}

/// One remote address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talker {
    /// The address.
    pub address: IpAddr,
    /// Packets from it.
    pub packets_received: u64,
    /// Ethernet frame bytes of those packets.
    pub bytes_received: u64,
    /// Packets to it.
    pub packets_transmitted: u64,
    /// Ethernet frame bytes of those packets.
    pub bytes_transmitted: u64,
    /// Begin of the window in which counting began, 100 seconds long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counted_since: Option<Timestamp>,
}
