//! Groups of fields that only some kinds of events have.

use std::net::IpAddr;

use monitor_identify::{Details, Grade, Verdict};
use serde::Serialize;

/// The conversation of an identification, beside its local end.
#[derive(Serialize)]
pub(super) struct ConversationFields<'a> {
    #[serde(rename = "ghostport.port")]
    pub(super) port: u16,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<IpAddr>,
    #[serde(rename = "network.peer.port", skip_serializing_if = "Option::is_none")]
    pub(super) peer_port: Option<u16>,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<&'a str>,
    #[serde(rename = "network.io.direction")]
    pub(super) io_direction: &'static str,
    #[serde(rename = "ghostport.verdict")]
    pub(super) verdict: Verdict,
    #[serde(rename = "ghostport.grade")]
    pub(super) grade: Grade,
    #[serde(rename = "ghostport.details", skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<&'a Details>,
    #[serde(rename = "ghostport.payload_size", skip_serializing_if = "Option::is_none")]
    pub(super) payload_size: Option<usize>,
    #[serde(rename = "ghostport.payload_sha256", skip_serializing_if = "Option::is_none")]
    pub(super) payload_sha256: Option<&'a str>,
    #[serde(rename = "ghostport.payload_hex", skip_serializing_if = "Option::is_none")]
    pub(super) payload_hex: Option<&'a str>,
}

/// The far end of a call that sends to a watched port of another host, or of a packet.
#[derive(Serialize)]
pub(super) struct ConnectFields {
    #[serde(rename = "ghostport.port")]
    pub(super) port: u16,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<IpAddr>,
    #[serde(rename = "network.peer.port")]
    pub(super) peer_port: u16,
}

/// What a socket takes, beside its path.
#[derive(Serialize)]
pub(super) struct CaptureFields<'a> {
    #[serde(rename = "ghostport.port", skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(rename = "ghostport.ports", skip_serializing_if = "<[u16]>::is_empty")]
    pub(super) ports: &'a [u16],
    #[serde(rename = "ghostport.filter")]
    pub(super) filter: &'a str,
}

/// What a summary adds to what its events have in common.
#[derive(Default, Serialize)]
pub(super) struct SummaryFields {
    #[serde(rename = "ghostport.summary_of")]
    pub(super) of: &'static str,
    #[serde(rename = "ghostport.processes", skip_serializing_if = "Option::is_none")]
    pub(super) processes: Option<u64>,
    #[serde(rename = "ghostport.peers", skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<u64>,
    #[serde(rename = "ghostport.peer_network", skip_serializing_if = "Option::is_none")]
    pub(super) peer_network: Option<String>,
    #[serde(rename = "ghostport.bytes", skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
}

/// The hook of a change, beside its mechanism.
#[derive(Serialize)]
pub(super) struct HookFields<'a> {
    #[serde(rename = "ghostport.hook")]
    pub(super) hook: &'static str,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<&'a str>,
}
