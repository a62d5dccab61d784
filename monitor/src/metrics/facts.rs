//! What the exposition is made from, beside the snapshot of the kernel side.

use std::time::Duration;

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use monitor_identify::Verdict;
use monitor_ledger::{Ledger, PortFacts};

use super::holders::HolderInfo;
use crate::{
    api::selftest::SelftestResult, classification::Tallies, event::EventLosses,
    listeners::ListenerCounts, process::AbandonedReads,
};

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

/// The ledger's facts on every watched port.
#[derive(Clone, Debug, Default)]
pub struct LedgerFacts {
    /// In ascending order of the ports.
    pub ports: Vec<(u16, PortFacts)>,
    /// Time in which no agent ran.
    pub coverage_gap: Duration,
    /// Listeners that were new, changed and gone.
    pub listener_changes: [u64; 3],
    /// Times that a look at all sockets contradicted the events on whether a port is held.
    pub differences: u64,
}

impl LedgerFacts {
    /// The facts at this moment.
    pub fn new(ledger: &Ledger, differences: u64) -> Self {
        let ports = ledger.all_facts().collect();
        Self {
            ports,
            coverage_gap: ledger.coverage_gap(),
            listener_changes: ledger.listeners().changes(),
            differences,
        }
    }
}

/// Verdicts on payloads, counted.
#[derive(Clone, Debug, Default)]
pub struct IdentifiedCounts {
    /// By port, protocol and verdict.
    pub rows: Vec<(u16, Protocol, Verdict, u64)>,
    /// Verdicts on ports beyond the number that is kept apart.
    pub uncounted: u64,
    /// Samples lost because the queue was full.
    pub lost: u64,
}

impl IdentifiedCounts {
    /// The counts so far.
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
    /// Events that receivers got later because of their rates.
    pub held_back: u64,
    /// Reads of processes that were given up.
    pub abandoned_reads: AbandonedReads,
    /// How long the pipeline has worked on its message.
    pub pipeline_busy: Duration,
    /// What payloads turned out to be.
    pub identified: IdentifiedCounts,
    /// Who holds the watched ports; empty unless the configuration asks for it.
    pub holders: Vec<HolderInfo>,
    /// The listeners of the last scan; `None` while they are not watched.
    pub listeners: Option<ListenerCounts>,
    /// Whether the last reading of the configuration succeeded.
    pub reload_succeeded: bool,
    /// When that was.
    pub reloaded_at: Timestamp,
    /// How the last selftest ended, if there was one since the boot.
    pub selftest: Option<SelftestResult>,
    /// Patterns of `interfaces.include` that match no interface now.
    pub unmatched_interface_patterns: usize,
    /// Readings of this host's addresses that failed.
    pub address_failures: u64,
    /// Why the last of them failed; `None` if it succeeded.
    pub addresses_error: Option<String>,
}

impl AgentStatus {
    /// The status of an agent that has just read its configuration.
    pub fn new(build: BuildInfo, now: Timestamp) -> Self {
        let losses = EventLosses::default();
        let identified = IdentifiedCounts::default();
        Self {
            build,
            losses,
            held_back: 0,
            abandoned_reads: AbandonedReads::default(),
            pipeline_busy: Duration::ZERO,
            identified,
            holders: Vec::new(),
            listeners: None,
            reload_succeeded: true,
            reloaded_at: now,
            selftest: None,
            unmatched_interface_patterns: 0,
            address_failures: 0,
            addresses_error: None,
        }
    }

    /// Notes that the configuration was read again.
    pub fn reloaded(&mut self, succeeded: bool, now: Timestamp) {
        self.reload_succeeded = succeeded;
        self.reloaded_at = now;
    }
}
