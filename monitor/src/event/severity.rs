//! How much an event matters. Pure.

use serde::Serialize;

use super::body::{Awakened, Bind, Event, EventBody};
use monitor_ledger::Cause;

/// How much an event matters, the value of `ghostport.severity`. The order is that of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now: something uses a port that it should not use.
    Critical,
}

impl Severity {
    /// Every severity, in ascending order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Name in events and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Event {
    /// How much it matters. The same as in dashboards/prometheus/alerts.yml, where a rule is about
    /// the same.
    pub fn severity(&self) -> Severity {
        match &self.body {
            EventBody::Answered(_) | EventBody::UnexpectedOwner(_) => Severity::Critical,
            EventBody::Awakened(awakened) if awakened.is_alarming() => Severity::Critical,
            EventBody::Captured(captured) if captured.is_targeted => Severity::Critical,
            EventBody::BindFailed(failed) if !is_expected(&failed.bind) => Severity::Warning,
            EventBody::HookChanged(changed) if changed.mechanism.is_none() => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

impl Awakened {
    /// Whether a bind or socket of an owner that the configuration does not expect awakened the port. A packet
    /// alone is mostly a scanner's.
    pub fn is_alarming(&self) -> bool {
        self.wake.cause() == Cause::Bind && !self.wake.is_expected()
    }
}

fn is_expected(bind: &Bind) -> bool {
    bind.expected == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_important_ones_are_greater() {
        assert!(Severity::ALL.is_sorted());
        for severity in Severity::ALL {
            assert_eq!(serde_json::to_value(severity).expect("JSON"), severity.name());
        }
    }
}
