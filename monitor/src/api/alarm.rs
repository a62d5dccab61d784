//! How alarming a port is: what is shown first, and in which colour.

use monitor_common::flow::Side;
use monitor_ledger::PortState;

use super::{port::Port, socket::Socket};

/// How alarming a port is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Nothing to look at.
    Quiet,
    /// What holds it is expected.
    Expected,
    /// It saw something, and nothing came of it.
    Warning,
    /// Something holds, answers or captures it that nothing expects.
    Critical,
}

impl Alarm {
    /// A sign of its own, so that the colour is not needed.
    pub const fn sign(self) -> char {
        match self {
            Self::Quiet => '·',
            Self::Expected => '■',
            Self::Warning => '◆',
            Self::Critical => '▲',
        }
    }
}

impl Port {
    /// How alarming it is.
    pub fn alarm(&self) -> Alarm {
        let state = self.state.unwrap_or_default();
        let is_targeted = self.captures.iter().any(|capture| capture.only_watched);
        if self.is_expected() == Some(false) || state == PortState::Answered || is_targeted {
            return Alarm::Critical;
        }
        match state {
            PortState::Probed | PortState::Attempted | PortState::Outbound => Alarm::Warning,
            PortState::Bound | PortState::Served if self.is_expected() == Some(true) => {
                Alarm::Expected
            }
            PortState::Bound | PortState::Served => Alarm::Critical,
            PortState::Quiet | PortState::Transit | PortState::Answered => Alarm::Quiet,
        }
    }

    /// Whether the configuration expects everything that holds it. An unexpected holder makes it
    /// unexpected, whatever else holds it; beside one of which it is not known nothing is. Connections
    /// that no process has any more hold nothing. `None` where it is not known, and where nothing holds it.
    pub fn is_expected(&self) -> Option<bool> {
        let unexpected = self.unexpected_sockets.unwrap_or_default();
        let rare = unexpected.udplite.unwrap_or(0) + unexpected.sctp.unwrap_or(0);
        if unexpected.tcp + unexpected.udp + rare > 0 {
            return Some(false);
        }
        let holds = |socket: &&Socket| socket.side == Side::Local && !socket.is_left_over();
        let held: Vec<_> =
            self.sockets.iter().filter(holds).map(|socket| socket.expected).collect();
        if held.contains(&Some(false)) {
            return Some(false);
        }
        (!held.is_empty() && !held.contains(&None)).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn port(state: &str, expected: Option<bool>) -> Port {
        let mut socket = json!({
            "transport": "udp", "family": "ipv4", "side": "local", "local_address": "0.0.0.0",
            "local_port": 2948, "holders": [],
        });
        if let Some(expected) = expected {
            socket["expected"] = expected.into();
        }
        let sockets = if state == "quiet" { json!([]) } else { json!([socket]) };
        serde_json::from_value(json!({ "port": 2948, "state": state, "sockets": sockets }))
            .expect("a port")
    }

    #[test]
    fn unexpected_holders_come_before_probes_and_those_before_expected_ones() {
        assert_eq!(port("served", Some(false)).alarm(), Alarm::Critical);
        assert_eq!(
            port("bound", None).alarm(),
            Alarm::Critical,
            "nothing says that it is expected"
        );
        assert_eq!(port("answered", None).alarm(), Alarm::Critical);
        assert_eq!(port("probed", None).alarm(), Alarm::Warning);
        assert_eq!(port("bound", Some(true)).alarm(), Alarm::Expected);
        assert_eq!(port("quiet", None).alarm(), Alarm::Quiet);
        assert!(Alarm::Critical > Alarm::Warning && Alarm::Warning > Alarm::Expected);
    }

    /// `web/page/states.js` has the same rule.
    #[test]
    fn a_holder_of_which_nothing_is_known_is_neither_expected_nor_unexpected() {
        let held = |expected: &[Option<bool>]| {
            let mut held = port("bound", None);
            let [socket] = &held.sockets[..] else { panic!("one socket") };
            let socket = |expected: &Option<bool>| Socket { expected: *expected, ..socket.clone() };
            held.sockets = expected.iter().map(socket).collect();
            held
        };
        assert_eq!(held(&[Some(true), None]).is_expected(), None);
        assert_eq!(held(&[Some(true), None]).alarm(), Alarm::Critical);
        assert_eq!(held(&[Some(true), None, Some(false)]).is_expected(), Some(false));
        assert_eq!(held(&[Some(true), Some(true)]).is_expected(), Some(true));
        let mut served = held(&[Some(true), None]);
        served.sockets[1].peer_address = Some([127, 0, 0, 1].into());
        assert_eq!(served.is_expected(), Some(true), "the other one is a connection that is over");
    }

    #[test]
    fn a_capture_of_this_port_alone_is_critical() {
        let capture = json!({ "kind": "packet_socket", "filter": "only port 2948/udp",
            "only_watched": true });
        let json = json!({ "port": 2948, "state": "quiet", "captures": [capture] });
        let port: Port = serde_json::from_value(json).expect("a port");
        assert_eq!(port.alarm(), Alarm::Critical);
    }
}
