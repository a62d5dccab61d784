//! From a snapshot of the kernel side to the text exposition. No I/O: the arguments have everything.

mod agent;
mod listeners;
mod ports;
mod shown;
#[cfg(test)]
mod tests;
mod traffic;

use anyhow::Result;
use monitor_kernel::snapshot::Snapshot;

pub use self::shown::MAX_PREINITIALISED_PORTS;
use self::shown::ShownPorts;
use super::{
    facts::{AgentStatus, LedgerFacts},
    family::Family,
    names, openmetrics,
    origins::Origins,
    process::ProcessFacts,
};

/// The exposition, one piece for each family: with tens of thousands of ports it is too large to be
/// joined. OpenMetrics needs to know when the counters began.
///
/// # Errors
/// A family cannot be encoded, which is a defect of its series.
pub fn render(
    snapshot: &Snapshot,
    ledger: &LedgerFacts,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
    open_metrics: Option<&Origins>,
) -> Result<Vec<String>> {
    let families = families(snapshot, ledger, status, process).into_iter().map(Family::finish);
    let families: Vec<Option<_>> = families.collect::<prometheus::Result<_>>()?;
    let mut families: Vec<_> = families.into_iter().flatten().collect();
    families.sort_unstable_by_key(|(metric, _)| metric.name);
    let Some(origins) = open_metrics else {
        return Ok(families.into_iter().map(|(_, text)| text).collect());
    };
    let translated = families
        .into_iter()
        .map(|(metric, text)| openmetrics::translate(metric, &text, origins.of(metric)));
    let mut pieces: Vec<String> = translated.collect::<Result<_, _>>()?;
    pieces.push(openmetrics::END.to_owned());
    Ok(pieces)
}

/// All families.
fn families(
    snapshot: &Snapshot,
    ledger: &LedgerFacts,
    status: &AgentStatus,
    process: Option<&ProcessFacts>,
) -> Vec<Family> {
    let shown = ShownPorts::new(snapshot, ledger);
    let mut families = traffic::traffic(snapshot, &shown);
    families.push(traffic::unclassified(snapshot));
    families.extend(ports::sockets(snapshot, &shown));
    families.extend(ports::states(ledger, &shown));
    families.push(Family::of_one(&names::COVERAGE_GAP, ledger.coverage_gap.as_secs_f64()));
    families.push(traffic::sources(snapshot, &shown));
    families.extend(agent::payloads(snapshot, status));
    families.push(ports::port_info(snapshot, &shown));
    families.extend(listeners::listeners(ledger, status));
    families.push(agent::holders(status));
    families.push(agent::hooks(snapshot));
    families.push(agent::hook_losses(snapshot));
    families.extend(agent::losses(snapshot, status));
    families.extend(agent::delays(status));
    families.push(Family::of_one(&names::HOLDER_DIFFERENCES, ledger.differences as f64));
    families.extend(agent::maps(snapshot));
    families.extend(agent::agent(status));
    families.extend(process.map(agent::process).into_iter().flatten());
    families
}
