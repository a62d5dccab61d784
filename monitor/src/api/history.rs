//! The last hour of a port.

use jiff::Timestamp;
use monitor_ledger::PortState;
use serde::{Deserialize, Serialize};

/// The answer of `/api/v1/ports/{port}/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The port.
    pub port: u16,
    /// End of the last step.
    pub until: Timestamp,
    /// Oldest first; each ends where the next one begins, and the last one at `until`. The first one
    /// begins with the agent, or an hour ago.
    pub series: Vec<Series>,
    /// Oldest first; each holds until the next one begins.
    pub states: Vec<StateSince>,
}

/// Steps of equal length. All lists have one number for each step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Length of a step.
    pub step_seconds: u32,
    /// When the first step begins.
    pub since: Timestamp,
    /// Packets that arrived on edge interfaces.
    pub packets_in: Vec<u32>,
    /// Packets that left on edge interfaces.
    pub packets_out: Vec<u32>,
    /// Successful binds; absent where there was none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub binds: Vec<u32>,
    /// Refused binds; absent where there was none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub binds_refused: Vec<u32>,
}

/// A state and its beginning. Within a step of several seconds it is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSince {
    /// The state.
    pub state: PortState,
    /// Its beginning.
    pub since: Timestamp,
}
