//! A port: active or dormant.

use std::time::Duration;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use crate::{
    by_protocol::ByProtocol,
    facts::PortFacts,
    history::{History, Interval},
    state::PortState,
    transition::{BindEvidence, Change, Transition, Wake},
};

/// A watched port. A port without activity has no history and takes little memory.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Quiet covered time after which the port is dormant, nanoseconds.
    pub(super) dormant_after_ns: u64,
    /// Whether the configuration expects owners.
    pub(super) has_owners: bool,
    /// Start of dormancy, if the port is dormant.
    pub(super) dormant_since: Option<DormantSince>,
    pub(super) history: Option<Box<History>>,
}

/// Start of dormancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DormantSince {
    /// Covered time, for durations.
    pub(super) covered_ns: u64,
    /// Wall clock time, for display.
    pub(super) wall: Timestamp,
}

/// Activity on a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Latest covered time at which it may have happened.
    pub(super) at_ns: u64,
    /// Covered time up to which all earlier activity is known.
    pub(super) known_until_ns: u64,
    /// Wall clock time.
    pub(super) wall: Timestamp,
    /// Its kind.
    pub(super) wake: Wake,
}

impl Port {
    pub(super) const fn new(dormant_since: DormantSince) -> Self {
        Self {
            dormant_after_ns: 0,
            has_owners: false,
            dormant_since: Some(dormant_since),
            history: None,
        }
    }

    /// The port once it is no longer watched: its holders are unknown from then on.
    pub(super) fn into_unwatched(mut self) -> Self {
        if let Some(history) = &mut self.history {
            history.forget_holders();
        }
        self
    }

    /// The port when it is watched again: dormant or quiet since now.
    pub(super) fn watched_again(mut self, now: DormantSince) -> Self {
        match (&mut self.dormant_since, &mut self.history) {
            (Some(since), _) => *since = now,
            (None, Some(history)) => {
                history.active_at_ns = history.active_at_ns.max(Some(now.covered_ns));
            }
            (None, None) => {}
        }
        self
    }

    /// Records `activity`. Returns whether it is newer than the last known activity; an older one
    /// awakens nothing.
    pub(super) fn record_activity(
        &mut self,
        number: u16,
        activity: &Activity,
        out: &mut Vec<Transition>,
    ) -> bool {
        let history = self.history.get_or_insert_default();
        if history.active_at_ns.is_some_and(|known| activity.at_ns <= known) {
            return false;
        }
        history.active_at_ns = Some(activity.at_ns);
        if let Some(since) = self.dormant_since.take() {
            let wake = activity.wake;
            history.awakenings.count(wake);
            // There may have been activity since: dormancy is certain only up to here.
            let until_ns = activity.at_ns.min(activity.known_until_ns);
            let dormant_for = Duration::from_nanos(until_ns.saturating_sub(since.covered_ns));
            out.push(Transition {
                port: number,
                time: activity.wall,
                change: Change::Awakened { wake, dormant_for },
            });
        }
        true
    }

    /// Applies the passing of time: a holder keeps the port active, and a port that was quiet for
    /// `dormant_after` becomes dormant. `now` is the activity of a holder of any protocol.
    pub(super) fn tick(
        &mut self,
        number: u16,
        now: &Activity,
        age_ns: u64,
        out: &mut Vec<Transition>,
    ) {
        let Some(history) = &mut self.history else { return };
        history.reconcile_bind_counts(self.has_owners);
        let held = history.sockets.map(|sockets| sockets.count > 0);
        let accepts = history.sockets.map(|sockets| sockets.can_accept);
        for (accepts, held_at_ns) in accepts.into_iter().zip(history.held_at_ns.iter_mut()) {
            if accepts {
                *held_at_ns = Some(age_ns);
            }
        }
        history.interval = Interval { held, accepts, ..Interval::default() };
        if let Some(protocol) = Protocol::ALL.into_iter().find(|protocol| held[*protocol]) {
            let evidence = BindEvidence::Found;
            let expected = history.sockets[protocol].are_expected();
            let wake = Wake::Bind { protocol, evidence, expected };
            self.record_activity(number, &Activity { wake, ..*now }, out);
        }
        let &Activity { at_ns, wall, .. } = now;
        self.become_dormant(number, at_ns, wall, out);
        self.refresh_state(number, age_ns, wall, out);
    }

    fn become_dormant(
        &mut self,
        number: u16,
        covered_ns: u64,
        wall: Timestamp,
        out: &mut Vec<Transition>,
    ) {
        let active_at_ns = self.history.as_ref().and_then(|history| history.active_at_ns);
        let Some(active_at_ns) = active_at_ns.filter(|_| self.dormant_since.is_none()) else {
            return;
        };
        if covered_ns.saturating_sub(active_at_ns) >= self.dormant_after_ns {
            self.dormant_since = Some(DormantSince { covered_ns, wall });
            out.push(Transition { port: number, time: wall, change: Change::Dormant });
        }
    }

    /// Updates the state to that at `age_ns`, and emits a transition if it changes.
    pub(super) fn refresh_state(
        &mut self,
        number: u16,
        age_ns: u64,
        wall: Timestamp,
        out: &mut Vec<Transition>,
    ) {
        let Some(history) = &mut self.history else { return };
        let to = history.state_at(age_ns);
        let from = std::mem::replace(&mut history.state, to);
        if from != to {
            out.push(Transition { port: number, time: wall, change: Change::State { from, to } });
        }
    }

    /// Whether the passing of time cannot change the port.
    pub(super) fn is_idle(&self) -> bool {
        let is_quiet = |history: &History| {
            history.state == PortState::Quiet
                && history.interval == Interval::default()
                && history.unreported_binds == ByProtocol::default()
                && history.suspected.iter().all(|suspected| suspected.answers == 0)
        };
        self.history.as_deref().is_none_or(is_quiet) && self.dormant_since.is_some()
    }

    pub(super) fn facts(&self) -> PortFacts {
        let dormant_since = self.dormant_since.map(|since| since.wall);
        let Some(history) = &self.history else {
            return PortFacts { dormant_since, ..PortFacts::default() };
        };
        PortFacts {
            state: history.state,
            dormant_since,
            last_packet: history.last_packet,
            last_bind: history.last_bind,
            bound_sockets: history.sockets.map(|sockets| sockets.count),
            unexpected_sockets: history
                .sockets
                .map(|sockets| sockets.count.saturating_sub(sockets.expected)),
            awakenings: history.awakenings,
            unexpected_binds: history.unexpected_binds,
            answers_without_socket: history.answers_without_socket,
        }
    }
}
