//! A watched port: what the agent knows of it, and the sockets on it.

use std::net::SocketAddr;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use monitor_identify::Verdict;
use monitor_ledger::{Cause, PortFacts, PortState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    capture::Capture, forwarding::ForwardedTo, named, reach::AnsweredBy, sender::Sender,
    socket::Socket,
};
use crate::{catalogue, classification::Tally, config::WatchedPort};

/// The answer of `/api/v1/ports`, and the document of `check` but for its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ports {
    /// In ascending order.
    pub ports: Vec<Port>,
}

/// A port. What only a running agent knows is absent from the document of `check`, in part where an
/// agent runs and entirely where none does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// Its number.
    pub port: u16,
    /// Name of the service that is registered for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    /// State in the sense of the ledger.
    #[schemars(with = "Option<String>", extend("enum" = states()))]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<PortState>,
    /// Whether it is dormant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dormant: Option<bool>,
    /// Since when it is dormant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dormant_since: Option<Timestamp>,
    /// Quiet time after which it is dormant again, seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dormant_after_seconds: Option<u64>,
    /// When the last packet was counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_packet: Option<Timestamp>,
    /// When it was last bound.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_bind: Option<Timestamp>,
    /// What last sent to the port of another host, while an agent ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_sender: Option<Sender>,
    /// How often it was awakened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub awakenings: Option<Awakenings>,
    /// Sockets that hold it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bound_sockets: Option<ByProtocol<u32>>,
    /// Those whose owner the configuration does not expect.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unexpected_sockets: Option<ByProtocol<u32>>,
    /// Successful binds by processes that the configuration does not expect.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unexpected_binds: Option<ByProtocol<u64>>,
    /// Verdicts on payloads since the agent started, the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub verdicts: Vec<VerdictCount>,
    /// How it is answered past its sockets.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub answered_by: Vec<AnsweredBy>,
    /// The containers for which proxies hold it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub forwarded_to: Vec<ForwardedTo>,
    /// The sockets on it, as of the last look.
    #[serde(default)]
    pub sockets: Vec<Socket>,
    /// Sockets that take its packets without holding it, or may take them, as of the last look.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub captures: Vec<Capture>,
}

fn states() -> Vec<&'static str> {
    PortState::ALL.into_iter().map(PortState::name).collect()
}

/// How often a verdict was found on a port, and when last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictCount {
    /// Name of the verdict.
    pub verdict: String,
    /// Transport protocol of the payloads.
    #[schemars(with = "String")]
    #[serde(with = "named")]
    pub transport: Protocol,
    /// Name of the grade.
    pub grade: String,
    /// Why, of the last one.
    pub reason: String,
    /// Number of payloads.
    pub count: u64,
    /// Time of the last one.
    pub last_seen: Timestamp,
    /// Remote end of the last one.
    pub last_peer: SocketAddr,
}

/// How often a port was awakened, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Awakenings {
    /// By a packet.
    pub packet: u64,
    /// By a bind.
    pub bind: u64,
    /// By a bind or socket of an owner that the configuration expects; `bind` includes them.
    #[serde(default)]
    pub expected: u64,
}

impl From<&PortFacts> for Awakenings {
    fn from(facts: &PortFacts) -> Self {
        let both = |cause| facts.awakenings(cause, false) + facts.awakenings(cause, true);
        Self {
            packet: both(Cause::Packet),
            bind: both(Cause::Bind),
            expected: facts.awakenings(Cause::Bind, true),
        }
    }
}

/// A number for each transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names explain themselves")]
pub struct ByProtocol<T> {
    pub tcp: T,
    pub udp: T,
    /// Absent until the port had packets or sockets of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub udplite: Option<T>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sctp: Option<T>,
}

impl<T> ByProtocol<T> {
    fn of(facts: &PortFacts, number: impl Fn(Protocol) -> T) -> Self {
        let once_seen = |protocol: Protocol| facts.has_seen(protocol).then(|| number(protocol));
        Self {
            tcp: number(Protocol::Tcp),
            udp: number(Protocol::Udp),
            udplite: once_seen(Protocol::UdpLite),
            sctp: once_seen(Protocol::Sctp),
        }
    }
}

impl Port {
    /// A port of which only its sockets are known.
    pub fn with_sockets(number: u16, sockets: Vec<Socket>) -> Self {
        let service = catalogue::lookup(number).map(|service| service.name.to_owned());
        Self { port: number, service, sockets, ..Self::default() }
    }

    /// Its state, and of one that was probed by one scanner alone, by which: `probed by zmap`.
    pub fn state_in_words(&self) -> String {
        let state = self.state.unwrap_or_default();
        let mut scanners = self.verdicts.iter().map(|found| found.verdict.strip_prefix("scan-"));
        let first = scanners.next().flatten().filter(|name| *name != "syn");
        match first {
            Some(scanner)
                if state == PortState::Probed && scanners.all(|name| name == Some(scanner)) =>
            {
                format!("{} by {scanner}", state.name())
            }
            _ => state.name().to_owned(),
        }
    }

    /// A port as the agent knows it: from its configuration, the ledger, the classification of
    /// payloads, and the last looks at tables and sockets.
    pub fn of_agent(
        watched: &WatchedPort,
        facts: &PortFacts,
        verdicts: &[(Protocol, Verdict, Tally)],
        answered_by: Vec<AnsweredBy>,
        sockets: Vec<Socket>,
    ) -> Self {
        let verdicts = verdicts.iter();
        Self {
            state: Some(facts.state),
            dormant: Some(facts.is_dormant()),
            dormant_since: facts.dormant_since,
            dormant_after_seconds: Some(watched.dormant_after.as_secs()),
            last_packet: Protocol::ALL.into_iter().filter_map(|p| facts.last_packet(p)).max(),
            last_bind: Protocol::ALL.into_iter().filter_map(|p| facts.last_bind(p)).max(),
            awakenings: Some(Awakenings::from(facts)),
            bound_sockets: Some(ByProtocol::of(facts, |protocol| facts.bound_sockets(protocol))),
            unexpected_sockets: Some(ByProtocol::of(facts, |protocol| {
                facts.unexpected_sockets(protocol)
            })),
            unexpected_binds: Some(ByProtocol::of(facts, |protocol| {
                facts.unexpected_binds(protocol)
            })),
            verdicts: verdicts
                .map(|(p, verdict, tally)| VerdictCount::new(*p, *verdict, tally))
                .collect(),
            answered_by,
            ..Self::with_sockets(watched.number, sockets)
        }
    }
}

impl VerdictCount {
    fn new(protocol: Protocol, verdict: Verdict, tally: &Tally) -> Self {
        Self {
            verdict: verdict.name().to_owned(),
            transport: protocol,
            grade: tally.grade.name().to_owned(),
            reason: tally.reason.clone(),
            count: tally.count,
            last_seen: tally.time,
            last_peer: tally.peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{self, udp_socket};

    #[test]
    fn a_port_is_probed_by_a_scanner_if_all_verdicts_are_of_it() {
        let verdict = |name: &str| VerdictCount {
            verdict: name.to_owned(),
            transport: Protocol::Tcp,
            grade: "consistent".to_owned(),
            reason: String::new(),
            count: 1,
            last_seen: Timestamp::UNIX_EPOCH,
            last_peer: ([192, 0, 2, 1], 9).into(),
        };
        let words = |state, verdicts: &[&str]| {
            let verdicts = verdicts.iter().map(|name| verdict(name)).collect();
            Port { state: Some(state), verdicts, ..Port::default() }.state_in_words()
        };
        let probed = PortState::Probed;
        assert_eq!(words(probed, &["scan-zmap", "scan-zmap"]), "probed by zmap");
        assert_eq!(words(probed, &["scan-zmap", "http"]), "probed");
        assert_eq!(words(probed, &["scan-syn"]), "probed", "it has no name");
        assert_eq!(words(probed, &[]), "probed");
        assert_eq!(words(PortState::Served, &["scan-zmap"]), "served");
    }

    #[test]
    fn the_answer_is_read_back_where_holders_are_unknown() {
        let hidden = sockets::Socket { holders_unknown: true, ..udp_socket(2948) };
        let sockets = Socket::list(&[hidden]);
        let port =
            Port::of_agent(&WatchedPort::new(2948), &PortFacts::default(), &[], vec![], sockets);
        let answer = serde_json::to_string(&Ports { ports: vec![port.clone()] }).expect("JSON");
        let read: Ports = serde_json::from_str(&answer).expect("an answer");
        assert_eq!(read.ports, [port]);
        assert_eq!(read.ports[0].sockets[0].holders, None);
    }

    #[test]
    fn the_keys_of_an_agent_come_in_their_order() {
        let port =
            Port::of_agent(&WatchedPort::new(2948), &PortFacts::default(), &[], vec![], vec![]);
        let expected = concat!(
            r#"{"port":2948,"service":"wap-push","state":"quiet","dormant":false,"#,
            r#""dormant_after_seconds":604800,"awakenings":{"packet":0,"bind":0,"expected":0},"#,
            r#""bound_sockets":{"tcp":0,"udp":0},"unexpected_sockets":{"tcp":0,"udp":0},"#,
            r#""unexpected_binds":{"tcp":0,"udp":0},"#,
            r#""sockets":[]}"#,
        );
        assert_eq!(serde_json::to_string(&port).expect("JSON"), expected);
    }
}
