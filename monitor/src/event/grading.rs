//! How much an event matters. Pure.

use monitor_ledger::Cause;

use super::{
    body::{Awakened, Bind, Event, EventBody},
    listening::{ListenerNews, Listening},
    severity::Severity,
};

impl Event {
    /// How much it matters. The same as in dashboards/prometheus/alerts.yml, where a rule is about
    /// the same.
    pub fn severity(&self) -> Severity {
        match &self.body {
            EventBody::Answered(_) | EventBody::UnexpectedOwner(_) => Severity::Critical,
            EventBody::Awakened(awakened) if awakened.is_alarming() => Severity::Critical,
            EventBody::Captured(captured) if captured.is_targeted => Severity::Critical,
            EventBody::Connect(_) => Severity::Warning,
            EventBody::Executable(found) if found.facts.is_suspicious() => Severity::Warning,
            EventBody::Listener(listening) => of_listener(listening),
            EventBody::BindFailed(failed) if !is_expected(&failed.bind) => Severity::Warning,
            EventBody::HookChanged(changed) if changed.mechanism.is_none() => Severity::Warning,
            EventBody::Selftest(selftest) if selftest.failure.is_some() => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

impl Awakened {
    /// Whether a bind or socket of an owner that the configuration does not expect
    /// awakened the port. A packet alone is mostly a scanner's.
    pub fn is_alarming(&self) -> bool {
        self.wake.cause() == Cause::Bind && !self.wake.is_expected()
    }
}

/// A listener on a port that is not watched is no alarm at night: on most hosts it is a service that
/// an administrator has added.
const fn of_listener(listening: &Listening) -> Severity {
    match listening.kind {
        ListenerNews::Unexpected => Severity::Warning,
        ListenerNews::Changed(_) if !matches!(listening.expected, Some(true)) => Severity::Warning,
        ListenerNews::New | ListenerNews::Changed(_) | ListenerNews::Gone => Severity::Info,
    }
}

fn is_expected(bind: &Bind) -> bool {
    bind.expected == Some(true)
}
