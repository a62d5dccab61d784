//! The listeners of the host, and what the baseline says of them.

use jiff::Timestamp;
use monitor_ledger::listeners::Standing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::Socket;
use crate::{
    catalogue,
    listeners::{JudgedListener, ListenerOverview},
};

/// The answer of `/api/v1/listeners`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Listeners {
    /// Whether the agent watches listeners (`listeners.watch`).
    pub watched: bool,
    /// Whether the baseline is being learned.
    pub learning: bool,
    /// By port, as of the last scan.
    pub listeners: Vec<Listener>,
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The socket and its holders. It is `expected` if the baseline or the configuration has it.
    #[serde(flatten)]
    pub socket: Socket,
    /// Name of the service that is registered for the port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    /// Whether it is in the baseline; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<bool>,
    /// Since when it is known to listen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
}

impl Listeners {
    /// What the agent knows, `None` of one that does not watch listeners, and whether it is learning.
    pub fn of_agent(overview: Option<&ListenerOverview>, learning: bool) -> Self {
        let Some(overview) = overview else { return Self::default() };
        let sockets: Vec<_> =
            overview.listeners.iter().map(|listener| listener.socket.clone()).collect();
        let judged = Socket::each(&sockets).into_iter().zip(&overview.listeners);
        Self {
            watched: true,
            learning,
            listeners: judged.map(|(socket, judged)| Listener::judged(socket, judged)).collect(),
        }
    }
}

impl Listener {
    /// A socket of which only the look itself is known.
    pub fn new(socket: Socket) -> Self {
        let service = socket.local_port.and_then(catalogue::lookup);
        let service = service.map(|service| service.name.to_owned());
        Self { socket, service, baseline: None, since: None }
    }

    fn judged(socket: Socket, judged: &JudgedListener) -> Self {
        let JudgedListener { standing, expected, since, .. } = judged;
        Self {
            baseline: standing.map(|standing| standing == Standing::Learned),
            since: *since,
            ..Self::new(Socket { expected: *expected, ..socket })
        }
    }
}
