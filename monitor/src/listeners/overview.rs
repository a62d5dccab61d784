//! The listeners of this host as they were at the last scan.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use monitor_ledger::listeners::{Scope, Standing};

use super::program;
use crate::{lock::lock, sockets::Socket};

/// Ports with unexpected listeners that metrics name at most: the newest.
pub const MAX_UNEXPECTED: usize = 64;

/// A listener, and what the baseline and the configuration say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedListener {
    /// The socket.
    pub socket: Socket,
    /// Whether the baseline has it; `None` if its program is not known.
    pub standing: Option<Standing>,
    /// Whether it is in the baseline or the configuration expects it; `None` if that is not known.
    pub expected: Option<bool>,
    /// Since when it is known to listen; `None` if the baseline does not know it.
    pub since: Option<Timestamp>,
}

/// All listeners, as of the last scan.
#[derive(Clone, Debug, Default)]
pub struct ListenerOverview {
    /// By port.
    pub listeners: Vec<JudgedListener>,
}

/// The last overview, which the pipeline replaces; `None` while listeners are not watched.
#[derive(Clone, Debug, Default)]
pub struct SharedOverview(Arc<Mutex<Option<Arc<ListenerOverview>>>>);

/// What metrics say of listeners.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerCounts {
    /// Listeners by protocol and scope.
    pub listeners: BTreeMap<(Protocol, Scope), u64>,
    /// Those that are not expected.
    pub unexpected: BTreeMap<(Protocol, Scope), u64>,
    /// Since when the newest of them listen.
    pub unexpected_since: Vec<(u16, Protocol, Timestamp)>,
}

impl JudgedListener {
    /// Whether neither the baseline nor the configuration has it.
    pub fn is_unexpected(&self) -> bool {
        self.expected == Some(false)
    }

    /// From where it can be reached.
    pub const fn scope(&self) -> Scope {
        program::scope(self.socket.scope)
    }
}

impl ListenerOverview {
    /// The counts for metrics.
    pub fn counts(&self) -> ListenerCounts {
        let mut counts = ListenerCounts::default();
        let mut since: BTreeMap<(u16, Protocol), Timestamp> = BTreeMap::new();
        for listener in &self.listeners {
            let protocol = listener.socket.entry.protocol;
            let place = (protocol, listener.scope());
            *counts.listeners.entry(place).or_default() += 1;
            if listener.is_unexpected() {
                *counts.unexpected.entry(place).or_default() += 1;
                let of_port = since.entry((listener.socket.port, protocol)).or_default();
                *of_port = (*of_port).max(listener.since.unwrap_or_default());
            }
        }
        let mut newest: Vec<(u16, Protocol, Timestamp)> =
            since.into_iter().map(|((port, protocol), since)| (port, protocol, since)).collect();
        newest.sort_by_key(|(port, _, since)| (std::cmp::Reverse(*since), *port));
        newest.truncate(MAX_UNEXPECTED);
        counts.unexpected_since = newest;
        counts
    }
}

impl SharedOverview {
    /// The last overview; `None` while listeners are not watched.
    pub fn get(&self) -> Option<Arc<ListenerOverview>> {
        lock(&self.0).clone()
    }

    /// Replaces it.
    pub fn set(&self, overview: Option<ListenerOverview>) {
        *lock(&self.0) = overview.map(Arc::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{SocketScope, udp_socket};

    #[test]
    fn the_newest_unexpected_listeners_are_named_and_all_counted() {
        let listener = |port: u16| JudgedListener {
            socket: Socket { scope: Some(SocketScope::Host), ..udp_socket(port) },
            standing: Some(Standing::Outside),
            expected: Some(port < 10),
            since: Timestamp::from_second(i64::from(port)).ok(),
        };
        let overview = ListenerOverview { listeners: (1..=100).map(listener).collect() };
        let counts = overview.counts();
        let place = (Protocol::Udp, Scope::Host);
        assert_eq!(counts.listeners, BTreeMap::from([(place, 100)]));
        assert_eq!(counts.unexpected, BTreeMap::from([(place, 91)]));
        let ports: Vec<u16> = counts.unexpected_since.iter().map(|(port, ..)| *port).collect();
        assert_eq!(ports, (37..=100).rev().collect::<Vec<u16>>());
    }
}
