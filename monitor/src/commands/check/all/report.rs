//! The document of `check --all --json`, from which the table is written, too.

use serde::Serialize;

use super::super::report::{Outcome, not_visible, remedy};
use crate::{
    api::{
        listener::{Listener, Listeners},
        socket::Socket,
    },
    schema::CHECK_SCHEMA,
    sockets,
};

/// What a look found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    /// What could not be seen, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_visible: Vec<String>,
    /// Whether the agent is learning the baseline; absent without one that watches listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) learning: Option<bool>,
    /// By port.
    pub(super) listeners: Vec<Listener>,
    /// Network namespaces that were looked at.
    #[serde(skip)]
    pub(super) namespaces: usize,
    #[serde(skip)]
    unseen: sockets::Unseen,
}

impl Report {
    /// What a look found, with what `agent` knows of it. `is_expected` says whether the configuration
    /// expects a listener.
    pub(super) fn new(
        found: sockets::Listeners,
        agent: Option<Listeners>,
        is_expected: impl Fn(&sockets::Socket) -> bool,
    ) -> Self {
        let known = Known::new(agent.as_ref());
        let opened: Vec<sockets::Socket> =
            found.listeners.into_iter().map(|open| open.socket).collect();
        let listener = |(socket, open): (Socket, &sockets::Socket)| {
            let expected = is_expected(open).then_some(true);
            known.complete(Listener::new(Socket { expected, ..socket }))
        };
        let listeners = Socket::each(&opened).into_iter().zip(&opened).map(listener).collect();
        Self {
            schema: CHECK_SCHEMA,
            not_visible: not_visible(found.unseen),
            learning: agent.as_ref().map(|agent| agent.learning),
            listeners,
            namespaces: found.namespaces,
            unseen: found.unseen,
        }
    }

    /// How the look ended. Without an agent nothing but `listeners.expect` is expected.
    pub(super) fn outcome(&self) -> Outcome {
        let is_expected = |listener: &Listener| listener.socket.expected == Some(true);
        if !self.listeners.iter().all(is_expected) {
            Outcome::Found
        } else if self.unseen.may_have_sockets() {
            Outcome::Unsure
        } else {
            Outcome::Quiet
        }
    }

    /// What could not be seen, a sentence each, for stderr.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let remedy = remedy(self.unseen);
        self.not_visible.iter().map(move |what| format!("{what}{remedy}"))
    }
}

/// The listeners that the agent knows, each of which completes one that was found.
struct Known<'a> {
    listeners: Vec<&'a Listener>,
}

impl<'a> Known<'a> {
    fn new(agent: Option<&'a Listeners>) -> Self {
        let listeners = agent.into_iter().flat_map(|agent| &agent.listeners);
        let mut listeners: Vec<&Listener> = listeners.collect();
        listeners.sort_by_key(|listener| place(listener));
        Self { listeners }
    }

    /// Adds what the agent knows of a listener: since when, and whether the baseline has it.
    fn complete(&self, mut listener: Listener) -> Listener {
        let place = place(&listener);
        let begin = self.listeners.partition_point(|known| self::place(known) < place);
        let same = self.listeners[begin..].iter().take_while(|known| self::place(known) == place);
        let is_same = |known: &&&Listener| {
            let (known, found) = (&known.socket, &listener.socket);
            found.holders.is_none() || known.has_same_holders(found)
        };
        // Several sockets may have the same ends (`SO_REUSEPORT`), or differ in what one side does not know.
        let same: Vec<&&Listener> = same.filter(is_same).collect();
        let distinction = |of: &Listener| (of.socket.interface.clone(), of.socket.ipv6_only);
        let exact = same.iter().find(|known| distinction(known) == distinction(&listener));
        let Some(known) = exact.or(same.first()) else { return listener };
        listener.baseline = known.baseline;
        listener.since = known.since;
        if listener.socket.expected.is_none() {
            listener.socket.expected = known.socket.expected;
        }
        if listener.socket.holders.is_none() {
            listener.socket.holders.clone_from(&known.socket.holders);
        }
        listener
    }
}

/// What identifies a listener.
fn place(listener: &Listener) -> impl Ord + use<> {
    let Socket { transport, local_address, local_port, netns_inode, .. } = listener.socket;
    (local_port, transport as usize, netns_inode, local_address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{OpenListener, udp_socket};

    fn found(ports: &[u16]) -> sockets::Listeners {
        let open = |port: &u16| OpenListener { socket: udp_socket(*port), port_was_named: None };
        sockets::Listeners {
            listeners: ports.iter().map(open).collect(),
            ..sockets::Listeners::default()
        }
    }

    fn agent(port: u16, expected: bool) -> Listeners {
        let [socket] = &Socket::each(&[udp_socket(port)])[..] else { unreachable!("one") };
        let socket = Socket { expected: Some(expected), ..socket.clone() };
        let since = Some(jiff::Timestamp::UNIX_EPOCH);
        let listener = Listener { baseline: Some(expected), since, ..Listener::new(socket) };
        Listeners { watched: true, learning: false, listeners: vec![listener] }
    }

    #[test]
    fn the_configuration_or_the_agent_expect_a_listener() {
        let report = |agent, by_config: bool| Report::new(found(&[53]), agent, |_| by_config);
        assert_eq!(report(None, false).outcome(), Outcome::Found);
        assert_eq!(report(None, true).outcome(), Outcome::Quiet);
        assert_eq!(report(Some(agent(53, true)), false).outcome(), Outcome::Quiet);
        assert_eq!(report(Some(agent(53, false)), false).outcome(), Outcome::Found);
        assert_eq!(report(Some(agent(54, true)), false).outcome(), Outcome::Found);
        let known = report(Some(agent(53, false)), true);
        assert_eq!(known.outcome(), Outcome::Quiet);
        assert_eq!(known.listeners[0].since, Some(jiff::Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_look_that_missed_something_is_not_quiet() {
        let mut missed = found(&[]);
        missed.unseen.namespaces = 1;
        assert_eq!(Report::new(missed, None, |_| true).outcome(), Outcome::Unsure);
        assert_eq!(Report::new(found(&[]), None, |_| true).outcome(), Outcome::Quiet);
    }

    #[test]
    fn the_document_has_the_shape_of_a_ports_sockets() {
        let json = serde_json::to_value(Report::new(found(&[53]), None, |_| false)).expect("JSON");
        assert_eq!(json["schema"], "ghostport.check/1");
        let listener = &json["listeners"][0];
        assert_eq!((&listener["local_port"], &listener["transport"]), (&53.into(), &"udp".into()));
        assert_eq!(listener["service"], "domain");
        assert_eq!(listener.get("expected"), None, "the baseline is not known");
    }
}
