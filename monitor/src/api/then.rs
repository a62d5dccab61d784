//! A port as it was at a time: what `check --at` says.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Holder;

/// A port as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortThen {
    /// The port.
    pub port: u16,
    /// Its name in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its state; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since when, as the agent noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_since: Option<Timestamp>,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_until: Option<Timestamp>,
    /// Whether it was dormant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dormant: Option<bool>,
    /// When its last packet before that time was counted; absent where that is not known to the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_packet: Option<Timestamp>,
    /// The sockets that held it, one for each process and protocol.
    pub sockets: Vec<SocketThen>,
    /// What is not known of that time, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_known: Vec<String>,
}

/// The sockets of a process that held a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SocketThen {
    /// Transport protocol.
    pub transport: String,
    /// `local`: this end has the port.
    pub side: String,
    /// The process, and since when and until when it held the port.
    pub holders: Vec<Holder>,
}
