//! Events alike, and when their sum is due.

use jiff::Timestamp;

use super::{
    key::{Hasher, Keys},
    processes::Processes,
    sum::Sum,
};
use crate::event::Event;

/// The time between the first event and its first summary, and the longest between two,
/// nanoseconds.
pub(super) const FIRST_PERIOD_NS: u64 = 300_000_000_000;
pub(super) const LONGEST_PERIOD_NS: u64 = 3_600_000_000_000;

pub(super) const DAY_NS: u64 = 86_400_000_000_000;

/// Processes of one program of which the first call is emitted as it is.
pub(super) const NEW_PROCESSES: usize = 8;

/// What holds for all groups of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Silence after which the next event is a first one again, nanoseconds.
    pub(super) forget_ns: u64,
    /// Time after which an event is emitted as it is, whatever was before, nanoseconds.
    pub(super) again_ns: u64,
    /// Whether the first call of a new process is emitted as it is.
    pub(super) by_process: bool,
}

/// Events alike. Times are those of `CLOCK_BOOTTIME`, nanoseconds.
#[derive(Debug)]
pub(super) struct Group {
    /// See [`Keys::owner`].
    owner: u64,
    /// When one of them was last emitted as it is.
    emitted_ns: u64,
    /// When the last one was ingested.
    seen_ns: u64,
    /// When the sum is due.
    due_ns: u64,
    /// The time between this summary and the next.
    period_ns: u64,
    /// The processes of which one was emitted.
    processes: Processes,
    /// The events that were not emitted.
    sum: Option<Box<Sum>>,
}

impl Group {
    /// The group of this event, which is emitted as it is.
    pub(super) fn new(event: &Event, keys: Keys, hasher: &Hasher, now_ns: u64) -> Self {
        let mut processes = Processes::default();
        processes.add(hasher.of_process(event.caller()), NEW_PROCESSES);
        Self {
            owner: keys.owner,
            emitted_ns: now_ns,
            seen_ns: now_ns,
            due_ns: now_ns.saturating_add(FIRST_PERIOD_NS),
            period_ns: FIRST_PERIOD_NS,
            processes,
            sum: None,
        }
    }

    /// See [`Keys::owner`].
    pub(super) const fn owner(&self) -> u64 {
        self.owner
    }

    /// Adds an event to the sum, or returns it to be emitted as it is.
    pub(super) fn add(
        &mut self,
        event: Event,
        (rules, is_alike): (&Rules, bool),
        hasher: &Hasher,
        now_ns: u64,
    ) -> Option<Event> {
        let silence_ns = now_ns.saturating_sub(self.seen_ns);
        self.seen_ns = self.seen_ns.max(now_ns);
        let is_first = silence_ns >= rules.forget_ns
            || now_ns.saturating_sub(self.emitted_ns) >= rules.again_ns;
        if is_first {
            self.processes.clear();
        }
        let process = hasher.of_process(event.caller());
        let is_new = rules.by_process && is_alike && self.processes.add(process, NEW_PROCESSES);
        if is_first || is_new {
            self.emitted_ns = now_ns;
            return Some(event);
        }
        match &mut self.sum {
            Some(sum) => sum.add(event, hasher, is_alike),
            None => {
                if self.due_ns <= now_ns {
                    self.period_ns = FIRST_PERIOD_NS;
                    self.due_ns = now_ns.saturating_add(FIRST_PERIOD_NS);
                }
                self.sum = Some(Box::new(Sum::new(event, hasher, is_alike)));
            }
        }
        None
    }

    /// The summary, if it is due at `now_ns`.
    pub(super) fn due(&mut self, now_ns: u64, time: Timestamp, is_alike: bool) -> Option<Event> {
        if self.due_ns > now_ns {
            return None;
        }
        let summary = self.take(time, is_alike)?;
        self.period_ns = self.period_ns.saturating_mul(2).min(LONGEST_PERIOD_NS);
        self.due_ns = now_ns.saturating_add(self.period_ns);
        Some(summary)
    }

    /// The summary of what there is.
    pub(super) fn take(&mut self, time: Timestamp, is_alike: bool) -> Option<Event> {
        Some(self.sum.take()?.into_summary(time, is_alike))
    }

    /// Whether nothing is lost with this group: it has no sum, and had no event for this long.
    pub(super) fn is_idle(&self, now_ns: u64, for_ns: u64) -> bool {
        self.sum.is_none() && now_ns.saturating_sub(self.seen_ns) >= for_ns
    }
}
