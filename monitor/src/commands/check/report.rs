//! The document of `check --json`, from which the page is written, too.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use crate::{
    api::{
        capture::Capture, forwarding::ForwardedTo, port::Port, reach::AnsweredBy, socket::Socket,
    },
    sockets::{self, Forwarding, PortReach, ScanResult, Unseen},
};

/// Version of the document; a field may be added to it, none renamed or removed.
const SCHEMA: &str = "ghostport.check/1";

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing holds or talks on the ports, and everything was seen.
    Quiet,
    /// Something does.
    Found,
    /// Nothing was found, but something may be where this user cannot look.
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
}

/// The ways to a port that do not end at its sockets.
struct Ways {
    answered_by: Vec<AnsweredBy>,
    forwarded_to: Vec<ForwardedTo>,
}

/// What was found beside sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'a> {
    /// Ways that lead past sockets.
    pub(super) reaches: &'a [PortReach],
    /// Containers behind proxies.
    pub(super) forwardings: &'a [Forwarding],
}

impl PortReport {
    /// What a look found on `number`, and what of `agent` belongs into the document.
    fn new(
        number: u16,
        sockets: &[sockets::Socket],
        captures: &[sockets::Capture],
        ways: Ways,
        agent: Option<Port>,
    ) -> Self {
        let agent = agent.unwrap_or_default();
        // The agent may read tables that this user may not.
        let Ways { answered_by, forwarded_to } = ways;
        let answered_by = if answered_by.is_empty() { agent.answered_by } else { answered_by };
        let known_to_agent =
            agent.bound_sockets.map_or(0, |bound| bound.tcp.saturating_add(bound.udp));
        let port = Port {
            state: agent.state,
            dormant: agent.dormant,
            last_packet: agent.last_packet,
            last_bind: agent.last_bind,
            verdicts: agent.verdicts,
            captures: Capture::on_port(captures, number),
            answered_by,
            forwarded_to,
            ..Port::with_sockets(number, Socket::list(sockets))
        };
        Self { port, known_to_agent }
    }

    /// Whether there is no socket, neither found nor known to the agent, and none that looks for
    /// packets of watched ports, and no other way to the port.
    pub(super) fn is_quiet(&self) -> bool {
        let has_sockets = !self.port.sockets.is_empty() || self.known_to_agent > 0;
        !has_sockets
            && self.port.answered_by.is_empty()
            && self.targeted_captures().next().is_none()
    }

    /// Sockets that take packets of watched ports and no others.
    pub(super) fn targeted_captures(&self) -> impl Iterator<Item = &Capture> {
        self.port.captures.iter().filter(|capture| capture.only_watched)
    }
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
            };
            PortReport::new(*port, &found, &scan.captures, ways, agent.remove(port))
        };
        let other_captures = scan.captures.iter().filter(|capture| !capture.is_targeted());
        Self {
            schema: SCHEMA,
            ports: ports.iter().map(report).collect(),
            namespaces: scan.namespaces,
            other_captures: other_captures.map(Capture::from).collect(),
            unseen: scan.unseen,
        }
    }

    /// How the look ended. Unknown holders of sockets that were found do not change it.
    pub(super) fn outcome(&self) -> Outcome {
        if !self.ports.iter().all(PortReport::is_quiet) {
            Outcome::Found
        } else if self.unseen.namespaces > 0 || self.unseen.processes > 0 {
            Outcome::Unsure
        } else {
            Outcome::Quiet
        }
    }

    /// What could not be seen, a sentence each, for stderr.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Unseen { namespaces, processes, holders } = self.unseen;
        let cases = [
            (namespaces, "network namespaces could not be entered: sockets in them are not seen"),
            (processes, "processes may be in further network namespaces, which are not seen"),
            (holders, "processes may hold these sockets, too: their descriptors cannot be read"),
        ];
        let cases = cases.into_iter().filter(|(count, _)| *count > 0);
        cases.map(|(count, what)| format!("{count} {what} (run it as root)")).collect()
    }
}
