//! What a sink has lost, in the counter and in the log.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The losses of one sink. The log tells of the first of them and of the recovery, so that a sink
/// that is gone does not fill it.
#[derive(Debug)]
pub(super) struct Losses {
    /// The sink, as the log names it.
    name: String,
    /// Of all sinks.
    total: Arc<AtomicU64>,
    /// Since something was written.
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

    /// So many events are lost.
    pub(super) fn lose(&self, count: u64, why: impl Display) {
        self.total.fetch_add(count, Relaxed);
        if count > 0 && self.streak.fetch_add(count, Relaxed) == 0 {
            tracing::error!("events to {} are lost: {why}", self.name);
        }
    }

    /// Something was written.
    pub(super) fn recover(&self) {
        let lost = self.streak.swap(0, Relaxed);
        if lost > 0 {
            tracing::info!("events are written to {} again; {lost} were lost", self.name);
        }
    }
}
