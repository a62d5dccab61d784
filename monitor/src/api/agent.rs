//! The agent itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The answer of `/api/v1/agent`: what the head of the live page and of `top` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Name of the host.
    pub host: String,
    /// Version of the agent.
    pub version: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// When it started.
    pub started: Timestamp,
    /// Its hooks in numbers; `/api/v1/hooks` has them one by one.
    pub hooks: HookNumbers,
    /// Events that were lost since the maps exist (ring) and since the agent started (the others), as
    /// `ghostport_events_lost_total` counts them.
    pub events_lost: LostEvents,
    /// Time that no agent covered, since the ledger began; seconds.
    pub coverage_gap_seconds: f64,
}

/// Hooks by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookNumbers {
    /// Those that are attached, by any mechanism.
    pub attached: usize,
    /// Those that are not attached.
    pub missing: usize,
}

/// Lost events by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEvents {
    /// The ring buffer was full.
    pub ring: u64,
    /// The queue before the store and the sinks was full.
    pub queue: u64,
    /// The store or a sink could not take them.
    pub sink: u64,
}

impl LostEvents {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.ring + self.queue + self.sink
    }
}
