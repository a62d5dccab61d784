//! The document of `check --json`, from which the page is written, too.

use std::{collections::BTreeMap, process::ExitCode};

use monitor_kernel::capabilities;
use rustix::process::geteuid;
use serde::Serialize;

use crate::{
    api::{
        capture::Capture,
        forwarding::ForwardedTo,
        port::{ByProtocol, Port},
        reach::AnsweredBy,
        socket::Socket,
    },
    schema::CHECK_SCHEMA,
    sockets::{self, Forwarding, HiddenProcesses, PortReach, ScanResult, Unseen},
    terminal::plural::counted,
};

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No others than expected owners hold or talk on the ports, and everything was seen.
    Quiet,
    /// Something does.
    Found,
    /// This user could not look everywhere, and found nothing, or only sockets whose holders may not
    /// be seen.
    Unsure,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Quiet => Self::SUCCESS,
            Outcome::Found => Self::from(1),
            Outcome::Unsure => Self::from(2),
        }
    }
}

/// What a look found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    /// What could not be seen, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_visible: Vec<String>,
    pub(super) ports: Vec<PortReport>,
    /// Network namespaces that were looked at.
    #[serde(skip)]
    pub(super) namespaces: usize,
    /// Sockets that take packets of watched ports among others, or may take them.
    #[serde(skip)]
    pub(super) other_captures: Vec<Capture>,
    #[serde(skip)]
    unseen: Unseen,
}

/// One port.
#[derive(Debug, Serialize)]
pub(super) struct PortReport {
    #[serde(flatten)]
    pub(super) port: Port,
    /// Sockets that the agent knows to hold the port. It also finds those in namespaces without a
    /// process.
    #[serde(skip)]
    pub(super) known_to_agent: u32,
    /// Those of them whose owners the agent expects.
    #[serde(skip)]
    expected_by_agent: u32,
}

/// The ways to a port that do not end at its sockets.
struct Ways {
    answered_by: Vec<AnsweredBy>,
    forwarded_to: Vec<ForwardedTo>,
    /// Whether the ways in the kernel's tables are all among them.
    has_seen_tables: bool,
}

/// What was found beside sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'a> {
    /// Ways that lead past sockets.
    pub(super) reaches: &'a [PortReach],
    /// Containers behind proxies.
    pub(super) forwardings: &'a [Forwarding],
    /// Whether the ways in the kernel's tables are all among `reaches`.
    pub(super) has_seen_tables: bool,
}

impl PortReport {
    /// What a look found on `number`, and what of `agent` belongs into the document: it may see more
    /// than this user.
    fn new(
        number: u16,
        sockets: &[sockets::Socket],
        captures: &[sockets::Capture],
        ways: Ways,
        agent: Option<Port>,
    ) -> Self {
        let agent = agent.unwrap_or_default();
        let Ways { answered_by, forwarded_to, has_seen_tables } = ways;
        let answered_by = with_seen(answered_by, agent.answered_by, has_seen_tables);
        let sockets = Socket::folded(completed(Socket::each(sockets), &agent.sockets));
        let count = |sockets: Option<ByProtocol<u32>>| {
            sockets.map_or(0, |sockets| sockets.tcp.saturating_add(sockets.udp))
        };
        let known_to_agent = count(agent.bound_sockets);
        // An agent of an earlier version does not say.
        let unexpected = agent.unexpected_sockets.or(agent.bound_sockets);
        let expected_by_agent = known_to_agent.saturating_sub(count(unexpected));
        let port = Port {
            state: agent.state,
            dormant: agent.dormant,
            last_packet: agent.last_packet,
            last_bind: agent.last_bind,
            last_sender: agent.last_sender,
            verdicts: agent.verdicts,
            captures: Capture::on_port(captures, number),
            answered_by,
            forwarded_to,
            ..Port::with_sockets(number, sockets)
        };
        Self { port, known_to_agent, expected_by_agent }
    }

    /// Whether there is no socket but those of expected owners and of clients elsewhere by chance,
    /// neither found nor known to the agent, and none that looks for packets of watched ports, and no
    /// other way to the port that is not over.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_held_elsewhere()
            && self.unexpected().next().is_none()
            && self.ways().next().is_none()
            && self.targeted_captures().next().is_none()
    }

    /// Whether an owner that is not expected holds it, as the agent knows, where no look finds it.
    pub(super) fn is_held_elsewhere(&self) -> bool {
        self.sockets().next().is_none() && self.known_to_agent > self.expected_by_agent
    }

    /// Whether all that was found, beside expected owners, are sockets whose holders this user may not
    /// see, and what connections of such have left over. `may_have_missed` is whether there may be
    /// sockets that were not found.
    fn is_held_out_of_sight(&self, may_have_missed: bool) -> bool {
        let is_hidden = |socket: &Socket| socket.holders.is_none();
        let mut others = self.targeted_captures();
        self.unexpected().next().is_some()
            && (may_have_missed || self.unexpected().any(is_hidden))
            && self.unexpected().all(|socket| is_hidden(socket) || socket.is_left_over())
            && self.known_to_agent == 0
            && self.ways().next().is_none()
            && others.next().is_none()
    }

    /// The sockets that hold the port or talk on it, without those that have it by chance.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.port.sockets.iter().filter(|socket| !socket.is_by_chance())
    }

    /// Those of them that are not known to be of an expected owner.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = &Socket> {
        self.sockets().filter(|socket| socket.expected != Some(true))
    }

    /// The ways that lead past sockets now.
    pub(super) fn ways(&self) -> impl Iterator<Item = &AnsweredBy> {
        self.port.answered_by.iter().filter(|way| !way.over)
    }

    /// Sockets that take packets of watched ports and no others.
    pub(super) fn targeted_captures(&self) -> impl Iterator<Item = &Capture> {
        self.port.captures.iter().filter(|capture| capture.only_watched)
    }
}

/// The ways that were `found`, with what the agent has `seen` of them, or else what it has seen. What
/// it saw in tables, and these no longer have, is over.
fn with_seen(
    mut found: Vec<AnsweredBy>,
    mut seen: Vec<AnsweredBy>,
    has_seen_tables: bool,
) -> Vec<AnsweredBy> {
    if found.is_empty() {
        for way in seen.iter_mut().filter(|way| has_seen_tables && way.path.is_in_tables()) {
            (way.in_use, way.over) = (false, true);
            way.connections = way.connections.map(|_| 0);
        }
        return seen;
    }
    for seen in seen {
        let is_it =
            |way: &&mut AnsweredBy| (way.transport, way.path) == (seen.transport, seen.path);
        let mut same = found.iter_mut().filter(is_it);
        // Which of several programs it was cannot be known.
        if let (Some(only), None) = (same.next(), same.next()) {
            only.in_use |= seen.in_use && !only.over;
        }
    }
    found
}

/// `sockets` with what the agent knows of them besides: holders that this user may not see, and which
/// owners are expected although their executables were replaced while they run.
fn completed(mut sockets: Vec<Socket>, known: &[Socket]) -> Vec<Socket> {
    for socket in &mut sockets {
        let same: Vec<&Socket> = known.iter().filter(|other| socket.is_in(other)).collect();
        // Two sockets of the same ends (`SO_REUSEPORT`) cannot be distinguished.
        if let ([only], None) = (&same[..], &socket.holders) {
            socket.holders.clone_from(&only.holders);
            socket.expected = socket.expected.or(only.expected);
        }
        let is_expected =
            |other: &&Socket| other.expected == Some(true) && other.has_same_holders(socket);
        if same.iter().any(is_expected) {
            socket.expected = Some(true);
        }
    }
    sockets
}

impl Report {
    /// `ports`, what a scan found on them, and what was found beside their sockets; `agent` has the
    /// ports that a running agent watches.
    pub(super) fn new(
        ports: &[u16],
        scan: ScanResult,
        beside: Beside<'_>,
        mut agent: BTreeMap<u16, Port>,
    ) -> Self {
        let mut sockets: BTreeMap<u16, Vec<sockets::Socket>> = BTreeMap::new();
        for socket in scan.sockets {
            sockets.entry(socket.port).or_default().push(socket);
        }
        let report = |port: &u16| {
            let found = sockets.remove(port).unwrap_or_default();
            let ways = Ways {
                answered_by: AnsweredBy::list(beside.reaches, *port),
                forwarded_to: ForwardedTo::on_port(beside.forwardings, *port),
                has_seen_tables: beside.has_seen_tables,
            };
            PortReport::new(*port, &found, &scan.captures, ways, agent.remove(port))
        };
        let other_captures = scan.captures.iter().filter(|capture| !capture.is_targeted());
        Self {
            schema: CHECK_SCHEMA,
            not_visible: not_visible(scan.unseen),
            ports: ports.iter().map(report).collect(),
            namespaces: scan.namespaces,
            other_captures: other_captures.map(Capture::from).collect(),
            unseen: scan.unseen,
        }
    }

    /// How the look ended. A socket with a holder that may be seen counts, whatever else may not.
    pub(super) fn outcome(&self) -> Outcome {
        let may_have_missed = self.may_have_missed_sockets();
        let is_found =
            |port: &PortReport| !port.is_quiet() && !port.is_held_out_of_sight(may_have_missed);
        if self.ports.iter().any(is_found) {
            Outcome::Found
        } else if may_have_missed || !self.ports.iter().all(PortReport::is_quiet) {
            Outcome::Unsure
        } else {
            Outcome::Quiet
        }
    }

    /// Whether there may be sockets where this user cannot look.
    pub(super) fn may_have_missed_sockets(&self) -> bool {
        self.unseen.may_have_sockets()
    }

    /// What could not be seen, a sentence each, for stderr.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let remedy = remedy(self.unseen);
        self.not_visible.iter().map(move |what| format!("{what}{remedy}"))
    }
}

/// What could not be seen, a sentence each.
pub(super) fn not_visible(unseen: Unseen) -> Vec<String> {
    let Unseen { namespaces, processes, holders, hidden } = unseen;
    let process = |count| counted(count, "process", "processes");
    let space = counted(namespaces, "network namespace", "network namespaces");
    let cases = [
        (namespaces, format!("{space} could not be entered: sockets there are not seen")),
        (
            processes,
            format!(
                "{} may be in further network namespaces, which are not seen",
                process(processes)
            ),
        ),
        (
            holders,
            format!(
                "{} may hold these sockets, too: {} descriptors cannot be read",
                process(holders),
                if holders == 1 { "its" } else { "their" },
            ),
        ),
    ];
    let cases = cases.into_iter().filter(|(count, _)| *count > 0).map(|(_, what)| what);
    cases.chain(hidden.map(|hidden| hidden.reason().to_owned())).collect()
}

/// What to do about what could not be seen: nothing more than root can see, if this is root.
pub(super) fn remedy(unseen: Unseen) -> String {
    let missing = capabilities::missing();
    let opens = |name: &&str| ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"].contains(name);
    let mut names: Vec<&str> =
        missing.iter().map(|capability| capability.name).filter(opens).collect();
    if !capabilities::has_sys_admin() {
        names.push("CAP_SYS_ADMIN");
    }
    let is_inside = unseen.hidden == Some(HiddenProcesses::PidNamespace);
    remedy_of(geteuid().is_root(), is_inside, &names)
}

/// `is_inside` is whether this is another pid namespace than the host's.
fn remedy_of(is_root: bool, is_inside: bool, missing: &[&str]) -> String {
    match (is_root, is_inside, missing) {
        (false, false, _) => " (run it as root)".to_owned(),
        (false, true, _) => " (run it as root, in the host's pid namespace)".to_owned(),
        (true, true, _) => " (run it in the host's pid namespace)".to_owned(),
        (true, false, []) => String::new(),
        (true, false, missing) => format!(" (this root lacks {})", missing.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_not_sent_to_root() {
        assert_eq!(remedy_of(false, false, &["CAP_BPF"]), " (run it as root)");
        assert_eq!(remedy_of(true, false, &[]), "");
        assert_eq!(remedy_of(true, true, &[]), " (run it in the host's pid namespace)");
        assert_eq!(
            remedy_of(true, false, &["CAP_SYS_PTRACE", "CAP_BPF"]),
            " (this root lacks CAP_SYS_PTRACE, CAP_BPF)"
        );
    }

    #[test]
    fn one_process_is_one() {
        let unseen = Unseen { namespaces: 1, processes: 1, holders: 2, hidden: None };
        assert_eq!(
            not_visible(unseen),
            [
                "1 network namespace could not be entered: sockets there are not seen",
                "1 process may be in further network namespaces, which are not seen",
                "2 processes may hold these sockets, too: their descriptors cannot be read",
            ]
        );
    }
}
