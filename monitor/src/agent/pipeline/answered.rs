//! When answers without a socket make an event.

use std::collections::HashMap;

use monitor_common::flow::Protocol;
use monitor_ledger::{Change, Transition};

use crate::{
    event::{Event, EventContext},
    sockets::{PortReach, Reach, Standing},
};

/// The ways of answers whose events were emitted.
#[derive(Debug, Default)]
pub(super) struct ReportedPaths(HashMap<(u16, Protocol), Reach>);

impl ReportedPaths {
    /// The event of a transition: if the port was not answered before, or if its way has changed.
    /// `reaches` are those that the scan found.
    pub(super) fn event(
        &mut self,
        transition: &Transition,
        reaches: &[PortReach],
        context: &EventContext,
    ) -> Option<Event> {
        let Change::Answered { protocol, answers, is_new } = transition.change else {
            return None;
        };
        let port = transition.port;
        let reach = best(port, protocol, reaches);
        let before = self.0.get(&(port, protocol));
        // A way that cannot be found this time is no other one.
        let has_changed =
            reach != Reach::default() && before.is_some_and(|before| *before != reach);
        if !is_new && !has_changed {
            return None;
        }
        self.0.insert((port, protocol), reach.clone());
        Some(Event::answered(port, protocol, answers, reach, transition.time, context))
    }
}

/// The way with the most connections, or one that is configured, or else one that is over: answers may
/// end before the scan that explains them.
fn best(port: u16, protocol: Protocol, reaches: &[PortReach]) -> Reach {
    let of_port = reaches.iter().filter(|r| (r.port, r.protocol) == (port, protocol));
    // Of several alike the first: the way must not seem to change.
    let best =
        of_port.rev().max_by_key(|reach| (reach.standing != Standing::Over, reach.connections));
    best.map(|reach| reach.reach.clone()).unwrap_or_default()
}
