//! Which ports have series, and whether those at 0 are among them.

use monitor_common::{flow::PortCounters, ports::PortSet, socket_event::SocketCounters};
use monitor_kernel::snapshot::Snapshot;

use crate::metrics::{facts::LedgerFacts, family::Family, names::Metric};

/// With more watched ports than this, a port has series only once something happened there.
pub const MAX_PREINITIALISED_PORTS: usize = 64;

/// With more ports than this that have series, as after a scan of tens of thousands, their series at
/// 0 are left out.
const MAX_PORTS_WITH_ZEROS: usize = 1024;

/// The ports that have series.
pub(super) struct ShownPorts {
    ports: PortSet,
    /// Whether their series at 0 are included.
    with_zeros: bool,
}

impl ShownPorts {
    /// Every watched port if there are few, otherwise those where something happened.
    pub(super) fn new(snapshot: &Snapshot, ledger: &LedgerFacts) -> Self {
        let quiet_too = snapshot.sockets.len() <= MAX_PREINITIALISED_PORTS;
        let called = snapshot
            .sockets
            .iter()
            .filter(|row| quiet_too || row.counters != SocketCounters::default())
            .map(|row| row.port);
        let crossed = snapshot
            .traffic
            .iter()
            .filter(|row| quiet_too || row.counters != PortCounters::default())
            .map(|row| row.port);
        let known =
            ledger.ports.iter().filter(|(_, facts)| facts.has_history()).map(|(port, _)| *port);
        let ports: PortSet = called.chain(crossed).chain(known).collect();
        let count = (1..=u16::MAX).filter(|port| ports.contains(*port)).count();
        Self { ports, with_zeros: count <= MAX_PORTS_WITH_ZEROS }
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        self.ports.contains(port)
    }

    /// An empty family with at least one series for each of these ports to come.
    pub(super) fn family(&self, metric: &'static Metric) -> Family {
        Family::new(metric).with_zeros(self.with_zeros)
    }
}
