//! Lost events of a sink, in the counter and in the log.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The losses of one sink. Only the first loss and the recovery are logged, so that a sink that is
/// gone does not fill the log.
#[derive(Debug)]
pub(super) struct Losses {
    /// Name of the sink in the log.
    name: String,
    /// Losses of all sinks.
    total: Arc<AtomicU64>,
    /// Losses since the last event that was written.
    streak: AtomicU64,
}

impl Losses {
    pub(super) fn new(name: String, total: Arc<AtomicU64>) -> Self {
        Self { name, total, streak: AtomicU64::new(0) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Counts `count` events as lost.
    pub(super) fn lose(&self, count: u64, why: impl Display) {
        self.total.fetch_add(count, Relaxed);
        if count > 0 && self.streak.fetch_add(count, Relaxed) == 0 {
            tracing::error!("events to {} are lost: {why}", self.name);
        }
    }

    /// An event was written.
    pub(super) fn recover(&self) {
        let lost = self.streak.swap(0, Relaxed);
        if lost > 0 {
            tracing::info!("events are written to {} again; {lost} were lost", self.name);
        }
    }
}
