//! Remote sinks. Events are sent in batches, repeatedly until they arrive or time is up.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use tokio::time::timeout;

use super::{
    http::{Client, Post},
    pace::Pace,
    queue::{Queue, Work},
    retry::{Refusal, until_accepted},
};
use crate::event::EncodedEvent;

/// Events of one request.
pub(super) const BATCH: usize = 256;

/// The protocol of a receiver.
pub(super) trait Format: Send {
    /// The request that carries `events`, or why there is none.
    fn post(&self, events: &[Arc<EncodedEvent>]) -> Result<Post, String>;

    /// Events of a request at most.
    fn batch(&self) -> usize {
        BATCH
    }

    /// Whether another attempt may succeed after an answer with `status`.
    fn is_passing(&self, status: StatusCode) -> bool {
        is_passing(status)
    }

    /// How many events the receiver left out, according to the body of its answer.
    fn left_out(&self, _body: &[u8]) -> usize {
        0
    }
}

/// Errors of the server, and those of RFC 9110, section 15.5.9 and RFC 6585, section 4.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Sends the events of `queue` until it is closed, so many in a second. The first event of a request
/// waits `linger` for others.
pub(super) async fn work(
    format: Box<dyn Format>,
    client: Client,
    queue: &Queue,
    linger: Option<Duration>,
    mut pace: Pace,
) {
    let most = format.batch();
    loop {
        let mut work = pace.next(queue, most).await;
        if let (Work::Events(_), Some(linger)) = (&work, linger) {
            // They stay in the queue until they are delivered, so this returns them again.
            let _ = timeout(linger, queue.full(BATCH)).await;
            work = pace.next(queue, most).await;
        }
        match work {
            Work::Reopen => {}
            Work::End => return,
            Work::Events(events) => {
                pace.pass(events.len());
                let delivery =
                    async { deliver(&*format, &client, &format.post(&events)?, queue).await };
                match delivery.await {
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

/// Sends one request until it is accepted. Returns how many of its events the receiver left out, or
/// why the request was given up.
async fn deliver(
    format: &dyn Format,
    client: &Client,
    post: &Post,
    queue: &Queue,
) -> Result<usize, String> {
    let attempt = async || match client.post(post).await {
        Ok(answer) if answer.status.is_success() => Ok(format.left_out(&answer.body)),
        Ok(answer) => Err(Refusal {
            why: answer.words(),
            is_final: !format.is_passing(answer.status),
            pause: answer.retry_after,
        }),
        Err(why) => Err(Refusal { why, is_final: false, pause: None }),
    };
    until_accepted(queue, attempt).await
}
