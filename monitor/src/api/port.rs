//! What is told of one watched port: the answer of the API, and what `check` adds to what it sees.

use std::net::SocketAddr;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue, classification::Tally, commands::check, config::WatchedPort, sockets::Socket,
};
use monitor_identify::Verdict;
use monitor_ledger::{Cause, PortFacts, PortState};

/// A watched port as the agent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct PortView {
    pub port: u16,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    pub state: PortState,
    pub dormant: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dormant_since: Option<Timestamp>,
    /// Seconds of quiet after which it is dormant again.
    pub dormant_after_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_packet: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_bind: Option<Timestamp>,
    pub awakenings: Awakenings,
    pub bound_sockets: ByProtocol<u32>,
    pub unexpected_binds: ByProtocol<u64>,
    /// What payloads on it turned out to be since the agent started, the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub verdicts: Vec<VerdictView>,
    /// As `check --json` has them; those of the last look.
    #[serde(serialize_with = "check::serialize_sockets", skip_deserializing)]
    pub sockets: Vec<Socket>,
}

/// How often a verdict was found, and the last time that it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct VerdictView {
    pub verdict: String,
    pub transport: String,
    pub grade: String,
    pub reason: String,
    pub count: u64,
    pub last_seen: Timestamp,
    pub last_peer: SocketAddr,
}

impl VerdictView {
    fn new(protocol: Protocol, verdict: Verdict, tally: &Tally) -> Self {
        Self {
            verdict: verdict.name().to_owned(),
            transport: protocol.name().to_owned(),
            grade: tally.grade.name().to_owned(),
            reason: tally.reason.clone(),
            count: tally.count,
            last_seen: tally.time,
            last_peer: tally.peer,
        }
    }
}

/// How often the port was awakened, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct Awakenings {
    pub packet: u64,
    pub bind: u64,
}

/// A number for each transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct ByProtocol<T> {
    pub tcp: T,
    pub udp: T,
}

impl PortView {
    /// What the configuration and the ledger say, what was found there, and who was seen there.
    pub fn new(
        port: &WatchedPort,
        facts: &PortFacts,
        verdicts: &[(Protocol, Verdict, Tally)],
        sockets: Vec<Socket>,
    ) -> Self {
        let [tcp, udp] = [Protocol::Tcp, Protocol::Udp];
        Self {
            port: port.number,
            service: catalogue::lookup(port.number).map(|service| service.name.to_owned()),
            state: facts.state,
            dormant: facts.is_dormant(),
            dormant_since: facts.dormant_since,
            dormant_after_seconds: port.dormant_after.as_secs(),
            last_packet: facts.last_packet(tcp).max(facts.last_packet(udp)),
            last_bind: facts.last_bind(tcp).max(facts.last_bind(udp)),
            awakenings: Awakenings {
                packet: facts.awakenings(Cause::Packet),
                bind: facts.awakenings(Cause::Bind),
            },
            bound_sockets: ByProtocol {
                tcp: facts.bound_sockets(tcp),
                udp: facts.bound_sockets(udp),
            },
            unexpected_binds: ByProtocol {
                tcp: facts.unexpected_binds(tcp),
                udp: facts.unexpected_binds(udp),
            },
            verdicts: verdicts
                .iter()
                .map(|(protocol, verdict, tally)| VerdictView::new(*protocol, *verdict, tally))
                .collect(),
            sockets,
        }
    }
}
