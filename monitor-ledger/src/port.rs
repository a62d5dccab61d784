//! One port: awake or dormant.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Change, PortFacts, PortState, Transition, Wake,
    history::{History, Interval},
};

/// A watched port. One that nothing was ever seen of takes no more than this.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Quiet covered time after which it is dormant, nanoseconds.
    pub(super) dormant_after_ns: u64,
    /// Whether the configuration expects anybody there.
    pub(super) has_owners: bool,
    /// Since when it is dormant.
    pub(super) dormant_since: Option<DormantSince>,
    pub(super) history: Option<Box<History>>,
}

/// Since when a port is dormant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DormantSince {
    /// For durations.
    pub(super) covered_ns: u64,
    /// For people.
    pub(super) wall: Timestamp,
}

/// That something happened at a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Covered time at which it happened, at the latest.
    pub(super) at_ns: u64,
    /// Covered time up to which all that could have happened before it is known.
    pub(super) known_until_ns: u64,
    /// Time of day.
    pub(super) wall: Timestamp,
    /// What happened.
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

    /// What stays of a port that is watched no more: who holds it is not known from now on.
    pub(super) fn laid_aside(mut self) -> Self {
        if let Some(history) = &mut self.history {
            history.forget_holders();
        }
        self
    }

    /// The port, watched again: it has slept, or been quiet, since now and no longer.
    pub(super) fn taken_up(mut self, now: DormantSince) -> Self {
        match (&mut self.dormant_since, &mut self.history) {
            (Some(since), _) => *since = now,
            (None, Some(history)) => {
                history.active_at_ns = history.active_at_ns.max(Some(now.covered_ns));
            }
            (None, None) => {}
        }
        self
    }

    /// Takes note of `evidence`. Returns whether it is news: what happened before the last thing
    /// that is known was told already, and wakes nobody who has gone to sleep since.
    pub(super) fn witness(
        &mut self,
        number: u16,
        evidence: &Evidence,
        out: &mut Vec<Transition>,
    ) -> bool {
        let history = self.history.get_or_insert_default();
        if history.active_at_ns.is_some_and(|known| evidence.at_ns <= known) {
            return false;
        }
        history.active_at_ns = Some(evidence.at_ns);
        if let Some(since) = self.dormant_since.take() {
            let wake = evidence.wake;
            history.awakenings[wake.cause() as usize] += 1;
            // Something may have come since: only up to there it surely slept.
            let until_ns = evidence.at_ns.min(evidence.known_until_ns);
            let dormant_for = Duration::from_nanos(until_ns.saturating_sub(since.covered_ns));
            out.push(Transition {
                port: number,
                time: evidence.wall,
                change: Change::Awakened { wake, dormant_for },
            });
        }
        true
    }

    /// What a reading brings with it: who holds the port keeps it awake, and who has been quiet
    /// for long enough goes to sleep. `now` is, by protocol, the evidence that a holder is.
    pub(super) fn settle(
        &mut self,
        number: u16,
        now: &[Evidence; 2],
        age_ns: u64,
        out: &mut Vec<Transition>,
    ) {
        let Some(history) = &mut self.history else { return };
        history.balance_binds(self.has_owners);
        let held = history.sockets.map(|sockets| sockets.count > 0);
        history.interval = Interval { held, ..Interval::default() };
        if let Some((_, holder)) = held.iter().zip(now).find(|(held, _)| **held) {
            self.witness(number, holder, out);
        }
        let [Evidence { at_ns, wall, .. }, _] = *now;
        self.fall_asleep(number, at_ns, wall, out);
        self.refresh_state(number, age_ns, wall, out);
    }

    fn fall_asleep(
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

    /// Tells if the state is another one at `age_ns` than it was.
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

    /// Whether time alone can change nothing about it.
    pub(super) fn is_settled(&self) -> bool {
        let is_quiet = |history: &History| {
            history.state == PortState::Quiet
                && history.interval == Interval::default()
                && history.untold_binds == [0; 2]
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
            awakenings: history.awakenings,
            unexpected_binds: history.unexpected_binds,
        }
    }
}
