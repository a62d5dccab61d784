//! What listens on this host, by the last scan and the ledger.

use monitor_common::flow::Protocol;
use monitor_ledger::listeners::Scope;

use crate::metrics::{
    facts::{AgentStatus, LedgerFacts},
    family::Family,
    names,
};

/// Names of the changes, in the order in which they are counted.
const CHANGES: [&str; 3] = ["new", "changed", "gone"];

/// Series exist at 0 while listeners are watched. Without that nothing is known of them, and the gauges
/// are absent.
pub(super) fn listeners(ledger: &LedgerFacts, status: &AgentStatus) -> [Family; 4] {
    let mut all = Family::new(&names::LISTENERS);
    let mut unexpected = Family::new(&names::LISTENERS_UNEXPECTED);
    let mut changes = Family::new(&names::LISTENER_CHANGES);
    let mut since = Family::new(&names::LISTENER_UNEXPECTED_TIMESTAMP);
    for (change, count) in CHANGES.into_iter().zip(ledger.listener_changes) {
        changes.add(&[change], count as f64);
    }
    let Some(counts) = &status.listeners else { return [all, unexpected, changes, since] };
    for protocol in Protocol::ALL {
        for scope in Scope::ALL {
            let (place, labels) = ((protocol, scope), [protocol.name(), scope.name()]);
            let has_any = counts.listeners.contains_key(&place);
            if protocol.is_rare() && !has_any {
                continue;
            }
            let count = |counts: &std::collections::BTreeMap<_, u64>| {
                counts.get(&place).copied().unwrap_or_default() as f64
            };
            all.add(&labels, count(&counts.listeners));
            unexpected.add(&labels, count(&counts.unexpected));
        }
    }
    for (port, protocol, at) in &counts.unexpected_since {
        since.add(&[&port.to_string(), protocol.name()], at.as_millisecond() as f64 / 1e3);
    }
    [all, unexpected, changes, since]
}
