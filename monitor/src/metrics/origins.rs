//! When the counters began to count.

use std::time::Duration;

use jiff::Timestamp;
use metric_names::{Metric, Origin};
use monitor_ledger::ClockReading;

/// When the counters of each origin began. An agent takes these times once: a clock that is set while it
/// runs must not move them.
#[derive(Clone, Copy, Debug)]
pub struct Origins {
    maps: Option<Timestamp>,
    ledger: Timestamp,
    agent: Timestamp,
}

impl Origins {
    /// Of maps that were created at `maps_ns` of `CLOCK_BOOTTIME` (`None` if that is not known), of a ledger that began `ledger_age` ago,
    /// and of an agent that starts now.
    pub fn new(maps_ns: Option<u64>, ledger_age: Duration, now: ClockReading) -> Self {
        let ago = |age: Duration| now.wall.checked_sub(age).unwrap_or(Timestamp::MIN);
        let maps_age = |began_ns| Duration::from_nanos(now.boottime_ns.saturating_sub(began_ns));
        Self { maps: maps_ns.map(maps_age).map(ago), ledger: ago(ledger_age), agent: now.wall }
    }

    /// When the series of this metric began; `None` for gauges, and where that differs between series.
    pub(super) fn of(&self, metric: &Metric) -> Option<Timestamp> {
        match metric.origin? {
            Origin::Maps => self.maps,
            Origin::Ledger => Some(self.ledger),
            Origin::Agent => Some(self.agent),
        }
    }
}
