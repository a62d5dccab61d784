//! Shutdown: hooks are detached, and what is queued is written.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::Result;
use jiff::Timestamp;

use super::{lock::lock, state::Agent};
use crate::event::Event;

/// Time that the pipeline, the store and the sinks each get to write what is queued.
pub(super) const FLUSH_LIMIT: Duration = Duration::from_secs(5);

impl Agent {
    /// Ends the agent's work, in every part: an error of one does not keep another from ending.
    pub(super) async fn stop(&mut self, reason: &str, keep_attached: bool) -> Result<()> {
        tracing::info!(reason, keep_attached, "stopping");
        self.manager.stopping();
        self.ready.store(false, Ordering::Relaxed);
        let detached = if keep_attached { Ok(()) } else { self.detach() };
        self.pipeline.emit(Event::agent_stopped(Timestamp::now(), reason, &self.context));
        self.close_queues().await;
        detached
    }

    /// Undoes a start that has failed.
    pub(super) async fn abandon_start(&self) {
        if let Err(error) = self.detach() {
            tracing::warn!("not every hook is detached, see `ghostport detach`: {error:#}");
        }
        self.close_queues().await;
    }

    /// Writes what is queued. One part that hangs does not keep the others from it.
    pub(super) async fn close_queues(&self) {
        let flushed = self.pipeline.flush(FLUSH_LIMIT).await;
        let (kept, written) =
            tokio::join!(self.store.close(FLUSH_LIMIT), self.sinks.close(FLUSH_LIMIT));
        if !(flushed && kept && written) {
            tracing::warn!("some events could not be written in time");
        }
    }

    fn detach(&self) -> Result<()> {
        let detached = lock(&self.kernel).detach_hooks();
        self.sweep_qdiscs();
        detached
    }
}
