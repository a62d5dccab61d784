//! The exposition: the declaration of every metric, and its values, which are built for each scrape.

mod collector;
mod family;
pub mod names;
mod process;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

pub use self::{
    collector::{MAX_PREINITIALISED_PORTS, render},
    process::ProcessFacts,
};
use crate::{api::selftest::SelftestResult, classification::Tallies, event::EventLosses};
use monitor_identify::Verdict;
use monitor_ledger::{Ledger, PortFacts};

/// The exposition as text, in pieces, made when it is asked for.
pub type Exposition = Arc<dyn Fn() -> anyhow::Result<Vec<String>> + Send + Sync>;

/// What is running, and on what.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Of the agent.
    pub version: &'static str,
    /// Commit that it was built from.
    pub revision: &'static str,
    /// Release of the running kernel.
    pub kernel: String,
}

/// What the ledger says of every watched port.
#[derive(Clone, Debug, Default)]
pub struct LedgerFacts {
    /// In ascending order of the ports.
    pub ports: Vec<(u16, PortFacts)>,
    /// Time in which no agent looked.
    pub coverage_gap: Duration,
    /// Ports that a look at all sockets found held, or free, when the events said otherwise.
    pub differences: u64,
}

impl LedgerFacts {
    /// What the ledger says now.
    pub fn new(ledger: &Ledger, differences: u64) -> Self {
        let ports = ledger.all_facts().collect();
        Self { ports, coverage_gap: ledger.coverage_gap(), differences }
    }
}

/// How often payloads were found to be what.
#[derive(Clone, Debug, Default)]
pub struct IdentifiedCounts {
    /// By port, protocol and verdict.
    pub rows: Vec<(u16, Protocol, Verdict, u64)>,
    /// Findings on ports beyond those that have series of their own.
    pub uncounted: u64,
    /// Samples that found the queue full.
    pub lost: u64,
}

impl IdentifiedCounts {
    /// What was found so far.
    pub fn new(tallies: &Tallies, lost: u64) -> Self {
        let rows = tallies
            .iter()
            .map(|(port, protocol, verdict, tally)| (port, protocol, verdict, tally.count));
        Self { rows: rows.collect(), uncounted: tallies.uncounted(), lost }
    }
}

/// What the agent knows of itself.
#[derive(Clone, Debug)]
pub struct AgentStatus {
    /// What is running.
    pub build: BuildInfo,
    /// Events that reached no sink.
    pub losses: EventLosses,
    /// What payloads turned out to be.
    pub identified: IdentifiedCounts,
    /// Whether the last reading of the configuration succeeded.
    pub reload_succeeded: bool,
    /// When that was.
    pub reloaded_at: Timestamp,
    /// How the last selftest ended, if there was one since the boot.
    pub selftest: Option<SelftestResult>,
    /// Patterns of `interfaces.include` that match no interface now.
    pub unmatched_interface_patterns: usize,
}

impl AgentStatus {
    /// Of an agent that has just read its configuration.
    pub fn new(build: BuildInfo, now: Timestamp) -> Self {
        let losses = EventLosses::default();
        let identified = IdentifiedCounts::default();
        Self {
            build,
            losses,
            identified,
            reload_succeeded: true,
            reloaded_at: now,
            selftest: None,
            unmatched_interface_patterns: 0,
        }
    }

    /// The configuration was read again.
    pub fn reloaded(&mut self, succeeded: bool, now: Timestamp) {
        self.reload_succeeded = succeeded;
        self.reloaded_at = now;
    }
}
