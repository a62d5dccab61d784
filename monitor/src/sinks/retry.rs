//! Attempts at a receiver that is away for a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    backoff::{Backoff, jitter},
    queue::Queue,
};

/// How long a message is tried. It may be the message itself that the receiver fails on.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether another attempt would be refused as well.
    pub(super) is_final: bool,
    /// The pause that the receiver asks for.
    pub(super) pause: Option<Duration>,
}

/// Attempts until one is accepted. The error says why none was: it was refused for good, or time is
/// up, or the queue is closed.
pub(super) async fn until_accepted<T>(
    queue: &Queue,
    mut attempt: impl AsyncFnMut() -> Result<T, Refusal>,
) -> Result<T, String> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        // Checked before the attempt, so that one attempt is made after the queue was closed.
        let is_last = queue.is_closing() || began.elapsed() >= GIVE_UP_AFTER;
        let Refusal { why, is_final, pause } = match attempt().await {
            Ok(accepted) => return Ok(accepted),
            Err(refusal) => refusal,
        };
        if is_last || is_final {
            return Err(why);
        }
        if backoff.is_fresh() {
            tracing::warn!(
                "{} takes no events now, and is tried again: {why}",
                queue.losses().name()
            );
        }
        let pause = backoff.next(jitter()).max(pause.unwrap_or_default());
        tokio::select! {
            () = sleep(pause) => {}
            () = queue.closing() => {}
        }
    }
}
