//! Sinks elsewhere: events go there in batches, and again until they have arrived or it is too late.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{
    backoff::{Backoff, jitter},
    http::{Answer, Client, Post},
    queue::{Queue, Work},
};
use crate::event::EncodedEvent;

/// Events of one request.
const BATCH: usize = 256;

/// After this long a batch is given up: it may be what the receiver stumbles over.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// How a receiver wants to be told, and what its answers mean.
pub(super) trait Format: Send {
    /// The request that tells `events`.
    fn post(&self, events: &[Arc<EncodedEvent>]) -> Post;

    /// Whether a refusal may be followed by success.
    fn is_passing(&self, status: StatusCode) -> bool {
        is_passing(status)
    }

    /// How many events an answer of success says to have left out.
    fn left_out(&self, _body: &[u8]) -> usize {
        0
    }
}

/// RFC 9110, 15.5.9 and RFC 6585, 4, beside what is the server's own trouble.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Sends what comes to `queue` until it is closed.
pub(super) async fn work(format: Box<dyn Format>, client: Client, queue: &Queue) {
    loop {
        match queue.next(BATCH).await {
            Work::Reopen => {}
            Work::End => return,
            Work::Events(events) => {
                match deliver(&*format, &client, &format.post(&events), queue).await {
                    Ok(left_out) => {
                        let left_out = left_out.min(events.len());
                        queue.lost(left_out, "the receiver has left them out");
                        queue.delivered(events.len() - left_out);
                    }
                    Err(why) => queue.lost(events.len(), why),
                }
            }
        }
    }
}

/// Sends one request until it is taken; says how many events of it were left out, or why it is
/// given up.
async fn deliver(
    format: &dyn Format,
    client: &Client,
    post: &Post,
    queue: &Queue,
) -> Result<usize, String> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        // Asked before the attempt: the last one is made after the closing.
        let is_last = queue.is_closing() || began.elapsed() >= GIVE_UP_AFTER;
        let (why, pause) = match client.post(post).await {
            Ok(answer) if answer.status.is_success() => return Ok(format.left_out(&answer.body)),
            Ok(answer) if !format.is_passing(answer.status) => return Err(answer.words()),
            Ok(answer @ Answer { retry_after, .. }) => (answer.words(), retry_after),
            Err(why) => (why, None),
        };
        if is_last {
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
