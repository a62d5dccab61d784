//! The document of `check --json`, from which the page is written, too.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::{AgentFacts, Outcome, text};
use crate::{
    api::port::VerdictView,
    catalogue,
    process::Identity,
    sockets::{Look, Socket, Unseen},
};

/// Version of the document; a field may be added to it, none renamed or removed.
const SCHEMA: &str = "ghostport.check/1";

/// What a look found.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    pub(super) ports: Vec<PortReport>,
    #[serde(skip)]
    pub(super) namespaces: usize,
    #[serde(skip)]
    unseen: Unseen,
}

/// One port.
#[derive(Debug, Serialize)]
pub(super) struct PortReport {
    pub(super) port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dormant: Option<bool>,
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(super) last_packet: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(super) last_bind: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) verdicts: Vec<VerdictView>,
    #[serde(serialize_with = "serialize_sockets")]
    pub(super) sockets: Vec<Socket>,
    /// Sockets that the agent knows of. It finds them in namespaces where no process is, too.
    #[serde(skip)]
    pub(super) bound_sockets: u32,
}

impl PortReport {
    /// Whether nobody knows of a socket.
    pub(super) fn is_quiet(&self) -> bool {
        self.sockets.is_empty() && self.bound_sockets == 0
    }
}

#[derive(Serialize)]
struct SocketDocument<'a> {
    transport: &'static str,
    family: &'static str,
    local_address: IpAddr,
    local_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_state: Option<&'static str>,
    side: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns_inode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holders: Option<Vec<HolderDocument<'a>>>,
}

#[derive(Serialize)]
struct HolderDocument<'a> {
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_args: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    systemd_unit: Option<&'a str>,
}

impl Report {
    pub(super) fn new(ports: &[u16], look: Look, mut agent: BTreeMap<u16, AgentFacts>) -> Self {
        let mut sockets: BTreeMap<u16, Vec<Socket>> = BTreeMap::new();
        for socket in look.sockets {
            sockets.entry(socket.port).or_default().push(socket);
        }
        let report = |&port| {
            let facts = agent.remove(&port).unwrap_or_default();
            PortReport {
                port,
                service: catalogue::lookup(port).map(|service| service.name),
                state: facts.state,
                dormant: facts.dormant,
                last_packet: facts.last_packet,
                last_bind: facts.last_bind,
                verdicts: facts.verdicts,
                sockets: sockets.remove(&port).unwrap_or_default(),
                bound_sockets: facts.bound_sockets,
            }
        };
        Self {
            schema: SCHEMA,
            ports: ports.iter().map(report).collect(),
            namespaces: look.namespaces,
            unseen: look.unseen,
        }
    }

    /// How the look ended. That holders of what was found may be unknown does not change it.
    pub fn outcome(&self) -> Outcome {
        if !self.ports.iter().all(PortReport::is_quiet) {
            Outcome::Found
        } else if self.unseen.namespaces > 0 || self.unseen.processes > 0 {
            Outcome::Unsure
        } else {
            Outcome::Quiet
        }
    }

    /// What could not be seen, a sentence each, for stderr.
    pub fn warnings(&self) -> Vec<String> {
        let Unseen { namespaces, processes, holders } = self.unseen;
        let cases = [
            (namespaces, "network namespaces could not be entered: sockets in them are not seen"),
            (processes, "processes may be in further network namespaces, which are not seen"),
            (holders, "processes may hold these sockets, too: their descriptors cannot be read"),
        ];
        let cases = cases.into_iter().filter(|(count, _)| *count > 0);
        cases.map(|(count, what)| format!("{count} {what} (run it as root)")).collect()
    }

    /// As a page for a terminal of 80 columns.
    pub fn to_text(&self, in_colour: bool) -> String {
        text::page(self, in_colour)
    }
}

impl<'a> SocketDocument<'a> {
    fn new(socket: &'a Socket) -> Self {
        let entry = &socket.entry;
        Self {
            transport: entry.protocol.name(),
            family: if entry.local.is_ipv4() { "ipv4" } else { "ipv6" },
            local_address: entry.local.ip(),
            local_port: entry.local.port(),
            peer_address: entry.peer.map(|peer| peer.ip()),
            peer_port: entry.peer.map(|peer| peer.port()),
            tcp_state: entry.tcp_state.map(|state| state.name()),
            side: socket.side.name(),
            netns_inode: socket.netns_inode,
            holders: (!socket.holders_unknown)
                .then(|| socket.holders.iter().map(HolderDocument::new).collect()),
        }
    }
}

impl<'a> HolderDocument<'a> {
    fn new(identity: &'a Arc<Identity>) -> Self {
        let cgroup = identity.cgroup.as_deref();
        Self {
            pid: identity.pid,
            parent_pid: identity.parent_pid,
            executable: identity.executable.as_ref().map(|executable| executable.path.as_str()),
            name: identity.name.as_deref(),
            command_args: identity.command_line.as_ref().map(|line| line.arguments.as_slice()),
            user: user(identity),
            container_id: cgroup.and_then(|cgroup| cgroup.container_id.as_deref()),
            systemd_unit: cgroup.and_then(|cgroup| Some(cgroup.unit.as_ref()?.name.as_str())),
        }
    }
}

/// Whose privileges a process has: the name, or the number of somebody who has none.
pub(super) fn user(identity: &Identity) -> Option<String> {
    let user = identity.effective_user.as_ref()?;
    Some(user.name.clone().unwrap_or_else(|| user.id.to_string()))
}

/// Writes sockets as the contract has them in the answer of `check`.
pub fn serialize_sockets<S: Serializer>(
    sockets: &[Socket],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(sockets.len()))?;
    for socket in sockets {
        list.serialize_element(&SocketDocument::new(socket))?;
    }
    list.end()
}

fn rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::*;
    use crate::sockets::udp_socket;

    fn report(sockets: Vec<Socket>, unseen: Unseen) -> Report {
        let facts = AgentFacts {
            state: Some("bound"),
            dormant: Some(false),
            last_packet: Some(Timestamp::UNIX_EPOCH),
            last_bind: Some(Timestamp::UNIX_EPOCH),
            bound_sockets: 0,
            verdicts: vec![VerdictView {
                verdict: "http".to_owned(),
                transport: "tcp".to_owned(),
                grade: "confirmed".to_owned(),
                reason: "a method".to_owned(),
                count: 3,
                last_seen: Timestamp::UNIX_EPOCH,
                last_peer: ([127, 0, 0, 1], 9).into(),
            }],
        };
        let look = Look { sockets, namespaces: 1, unseen };
        Report::new(&[2947, 2948], look, BTreeMap::from([(2948, facts)]))
    }

    #[test]
    fn quiet_takes_having_seen_everything() {
        let nothing = Unseen::default();
        assert_eq!(report(vec![], nothing).outcome(), Outcome::Quiet);
        for unseen in [Unseen { namespaces: 1, ..nothing }, Unseen { processes: 1, ..nothing }] {
            assert_eq!(report(vec![], unseen).outcome(), Outcome::Unsure);
            assert_eq!(report(vec![udp_socket(2948)], unseen).outcome(), Outcome::Found);
            assert_eq!(report(vec![], unseen).warnings().len(), 1);
        }
        let holders = Unseen { holders: 1, ..nothing };
        assert_eq!(report(vec![], holders).outcome(), Outcome::Quiet);
    }

    #[test]
    fn what_only_the_agent_sees_is_not_said_to_be_nothing() {
        let facts = AgentFacts { state: Some("bound"), bound_sockets: 1, ..AgentFacts::default() };
        let look = Look { sockets: vec![], namespaces: 1, unseen: Unseen::default() };
        let report = Report::new(&[2948], look, BTreeMap::from([(2948, facts)]));
        assert_eq!(report.outcome(), Outcome::Found);
        let page = report.to_text(false);
        assert!(page.contains("the agent knows of 1") && !page.contains("nothing holds"), "{page}");
    }

    #[test]
    fn long_addresses_push_out_nothing() {
        let address = ([0xfe80, 0, 0, 1, 0x1234, 0x5678, 0x9abc, 0xdef0], 2948).into();
        let mut socket = udp_socket(2948);
        (socket.entry.local, socket.netns_inode) = (address, Some(4_026_531_840));
        let look = Look { sockets: vec![socket], namespaces: 2, unseen: Unseen::default() };
        let page = Report::new(&[2948], look, BTreeMap::new()).to_text(false);
        assert!(page.contains("netns 4026531840"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    }

    #[test]
    fn who_could_not_be_looked_at_is_not_said_to_be_nobody() {
        let hidden = Socket { holders_unknown: true, ..udp_socket(2948) };
        let report = report(vec![hidden], Unseen { holders: 7, ..Unseen::default() });
        let document = serde_json::to_value(&report).expect("a document");
        assert_eq!(document["ports"][1]["sockets"][0].get("holders"), None, "{document}");
        let page = report.to_text(false);
        assert!(page.contains("who holds it is not visible to this user"), "{page}");
        assert!(!page.contains("no process"), "{page}");
    }

    #[test]
    fn what_an_agent_knows_is_added() {
        let document = json!({
            "schema": "ghostport.check/1",
            "ports": [
                {"port": 2947, "service": "gpsd", "sockets": []},
                {
                    "port": 2948,
                    "service": "wap-push",
                    "state": "bound",
                    "dormant": false,
                    "last_packet": "1970-01-01T00:00:00Z",
                    "last_bind": "1970-01-01T00:00:00Z",
                    "verdicts": [{
                        "verdict": "http",
                        "transport": "tcp",
                        "grade": "confirmed",
                        "reason": "a method",
                        "count": 3,
                        "last_seen": "1970-01-01T00:00:00Z",
                        "last_peer": "127.0.0.1:9",
                    }],
                    "sockets": [{
                        "transport": "udp",
                        "family": "ipv4",
                        "local_address": "127.0.0.1",
                        "local_port": 2948,
                        "side": "local",
                        "holders": [],
                    }],
                },
            ],
        });
        let report = report(vec![udp_socket(2948)], Unseen::default());
        assert_eq!(serde_json::to_value(&report).expect("a document"), document);
        let page = report.to_text(false);
        let facts = "     bound, not dormant, last packet 1970-01-01T00:00:00Z,\n     \
            last bind 1970-01-01T00:00:00Z, http over tcp (3 times)\n";
        assert!(page.contains(facts), "{page}");
        assert!(!page.contains('\u{1b}') && report.to_text(true).contains('\u{1b}'));
    }
}
