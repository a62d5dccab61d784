//! Whether the thread of the pipeline makes progress.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A message that takes longer has stalled the pipeline: the longest wait for a queue takes half of it.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// When the thread began with the message that it works on.
#[derive(Debug)]
pub(super) struct Progress {
    epoch: Instant,
    /// Microseconds after the epoch, and 1; 0 while the thread waits for a message.
    began: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { epoch: Instant::now(), began: AtomicU64::new(0) }
    }
}

impl Progress {
    pub(super) fn begin(&self) {
        self.began.store(self.now() + 1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.began.store(0, Relaxed);
    }

    /// How long the thread has worked on its message; 0 without one.
    pub(super) fn busy_for(&self) -> Duration {
        match self.began.load(Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_micros((self.now() + 1).saturating_sub(began)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_busy_from_the_beginning_of_a_message_to_its_end() {
        let progress = Progress::default();
        assert_eq!(progress.busy_for(), Duration::ZERO);
        progress.begin();
        std::thread::sleep(Duration::from_millis(2));
        assert!(progress.busy_for() >= Duration::from_millis(2));
        progress.end();
        assert_eq!(progress.busy_for(), Duration::ZERO);
    }
}
