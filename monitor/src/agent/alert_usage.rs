//! What keeps the alerts of sinks active.

use std::sync::Arc;

use monitor_ledger::{Ledger, PortState};

use super::{lock::lock, pipeline::SharedLedger};
use crate::{
    listeners::{ListenerOverview, SharedOverview},
    sinks::{IsInUse, Usage},
};

/// Asks the ledger and the last scan of listeners.
pub(super) fn is_in_use(ledger: SharedLedger, listeners: SharedOverview) -> IsInUse {
    Arc::new(move |usage| match usage {
        Usage::Held(port) => is_held(&lock(&ledger), port),
        Usage::Sending(port) => is_sent_to(&lock(&ledger), port),
        Usage::Listening(port) => {
            listeners.get().is_some_and(|listeners| has_unexpected(&listeners, port))
        }
    })
}

/// Whether a socket holds a port, or was bound, refused or answered for there within the last five
/// minutes. Packets alone keep no alert alive: a port that the Internet can reach is always probed.
/// Neither do expected owners.
fn is_held(ledger: &Ledger, port: u16) -> bool {
    ledger.facts(port).is_some_and(|facts| {
        let is_used = matches!(
            facts.state,
            PortState::Attempted | PortState::Bound | PortState::Answered | PortState::Served
        );
        is_used && !facts.is_held_by_expected_owners_alone()
    })
}

fn is_sent_to(ledger: &Ledger, port: u16) -> bool {
    ledger.facts(port).is_some_and(|facts| facts.state == PortState::Outbound)
}

/// Whether a listener that is not expected is on a port; on any without one.
fn has_unexpected(listeners: &ListenerOverview, port: Option<u16>) -> bool {
    let mut unexpected = listeners.listeners.iter().filter(|listener| listener.is_unexpected());
    unexpected.any(|listener| port.is_none_or(|port| listener.socket.port == port))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;
    use monitor_ledger::{ClockReading, CounterEpoch, Start};

    use super::*;
    use crate::{listeners::JudgedListener, sockets::udp_socket};

    #[test]
    fn an_unexpected_listener_keeps_its_alert_and_the_one_of_several_ports() {
        let judged = |port, expected| JudgedListener {
            socket: udp_socket(port),
            standing: None,
            expected: Some(expected),
            since: None,
        };
        let overview = SharedOverview::default();
        let at = ClockReading { wall: Timestamp::UNIX_EPOCH, boottime_ns: 0 };
        let counters = CounterEpoch { id: String::new(), adopted: false };
        let ledger = Ledger::new(Start { at, boot_id: String::new(), counters });
        let is_in_use = is_in_use(Arc::new(Mutex::new(ledger)), overview.clone());
        assert!(!is_in_use(Usage::Listening(None)), "nothing was scanned");
        let listeners = vec![judged(53, true), judged(9000, false)];
        overview.set(Some(ListenerOverview { listeners }));
        assert!(is_in_use(Usage::Listening(Some(9000))) && is_in_use(Usage::Listening(None)));
        assert!(!is_in_use(Usage::Listening(Some(53))));
        assert!(!is_in_use(Usage::Held(9000)) && !is_in_use(Usage::Sending(9000)));
    }
}
