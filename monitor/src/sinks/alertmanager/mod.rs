//! Alerts that are sent to an Alertmanager directly, without a scrape.
//!
//! Binds on dormant ports, unexpected owners, answers without a socket, sockets that look for a port,
//! unexpected and changed listeners, and processes that send to a watched port elsewhere raise alerts. A
//! bind raises one, whatever events it makes. It is sent repeatedly while it is
//! active, and resolved when its port has been free for a while. The label `reporter` distinguishes
//! it from Prometheus' alert about the same, which Alertmanager inhibits by it; it outlasts that one.
//! Annotations describe the process.
//!
//! What is active is known to Alertmanager: an agent that starts reads it there and goes on.

mod active;
mod adoption;
mod alert;
mod annotations;
#[cfg(test)]
mod tests;
mod usage;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Uri;
use jiff::Timestamp;
use tokio::time::sleep_until;

pub(super) use self::alert::is_alarming;
pub use self::usage::{IsInUse, Usage};
use self::{
    active::Active,
    alert::{Key, Labels},
};
use super::{
    backoff::{Backoff, jitter},
    http::{Answer, Client, Post},
    pace::Pace,
    queue::{Queue, Work},
    remote::is_passing,
};
use crate::{config::HttpUrl, event::EncodedEvent};

/// Events that are processed together at most.
const BATCH: usize = 256;

/// Alerts in a request at most.
const ALERTS: usize = 64;

/// How long an event waits for others of the same bind, if the configuration does not say it. The
/// pipeline emits them within a millisecond.
const LINGER: Duration = Duration::from_millis(20);

/// How often the ports of active alerts are checked.
const LOOK_PERIOD: Duration = Duration::from_secs(15);

/// An Alertmanager.
#[derive(Debug)]
pub(super) struct Alertmanager {
    uri: Uri,
    active: Active,
    pause: Pause,
    /// Whether the alerts of an earlier agent have been read.
    has_adopted: bool,
}

/// A failed attempt that may be repeated.
struct Failure {
    why: String,
    /// The pause that the receiver asks for.
    retry_after: Option<Duration>,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, retry_after: None }
    }
}

impl From<&Answer> for Failure {
    fn from(answer: &Answer) -> Self {
        Self { why: answer.words(), retry_after: answer.retry_after }
    }
}

/// The time between two attempts.
#[derive(Debug, Default)]
struct Pause {
    backoff: Backoff,
    until: Option<Instant>,
}

impl Pause {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    fn extend(&mut self, Failure { why, retry_after }: Failure, name: &str) {
        if self.backoff.is_fresh() {
            tracing::warn!("{name} takes no alerts now, and is tried again: {why}");
        }
        let pause = self.backoff.next(jitter()).max(retry_after.unwrap_or_default());
        self.until = Some(Instant::now() + pause);
    }
}

/// Waits until an alert is `due` and no pause is in force, or until the ports have to be checked.
/// Waits forever if there is no alert.
async fn wait(due: Option<Instant>, pause: &Pause) {
    let Some(due) = due else { return std::future::pending().await };
    let due = pause.until.map_or(due, |until| until.max(due));
    sleep_until(due.min(Instant::now() + LOOK_PERIOD).into()).await;
}

impl Alertmanager {
    pub(super) fn new(
        url: &HttpUrl,
        labels: &BTreeMap<String, String>,
        linger: Option<Duration>,
    ) -> Self {
        let host = rustix::system::uname();
        let labels = Labels::new(labels, &host.nodename().to_string_lossy());
        Self {
            uri: url.join("/api/v2/alerts"),
            active: Active::new(labels, linger.unwrap_or(LINGER)),
            pause: Pause::default(),
            has_adopted: false,
        }
    }

    /// Sends alerts for the events of `queue` until it is closed, of so many events in a second.
    pub(super) async fn work(
        mut self,
        client: Client,
        queue: &Queue,
        mut pace: Pace,
        is_in_use: &(dyn Fn(Usage) -> bool + Send + Sync),
    ) {
        let _ = self.adopt(&client).await;
        loop {
            let mut is_last = false;
            tokio::select! {
                work = pace.next(queue, BATCH) => match work {
                    Work::Reopen => {}
                    Work::End => is_last = true,
                    Work::Events(events) => {
                        pace.pass(events.len());
                        self.take_over(&events, queue);
                    }
                },
                () = wait(self.next_due(), &self.pause) => {}
            }
            let now = Instant::now();
            self.active.end_free(is_in_use, now);
            if is_last || self.pause.is_over(now) {
                match self.exchange(&client, queue, is_last).await {
                    Ok(()) => self.pause = Pause::default(),
                    Err(failure) if is_last => return queue.lose_held(failure.why),
                    Err(failure) => self.pause.extend(failure, queue.losses().name()),
                }
                queue.losses().lose(self.active.give_up(Instant::now()), "they are over");
                queue.hold(self.active.unsent());
            }
            if is_last {
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        if self.has_adopted { self.active.next_due() } else { Some(Instant::now()) }
    }

    fn take_over(&mut self, events: &[Arc<EncodedEvent>], queue: &Queue) {
        for encoded in events {
            if !self.active.raise(&encoded.event, Instant::now()) {
                queue.losses().lose(1, "too many alerts are active");
            }
        }
        queue.taken_over(events.len());
        queue.hold(self.active.unsent());
    }

    /// Sends what is due, and reads the alerts of an earlier agent if that has failed so far.
    async fn exchange(
        &mut self,
        client: &Client,
        queue: &Queue,
        is_last: bool,
    ) -> Result<(), Failure> {
        self.send_due(client, queue, is_last).await?;
        if is_last { Ok(()) } else { self.adopt(client).await }
    }

    /// Sends every alert that is due now.
    async fn send_due(
        &mut self,
        client: &Client,
        queue: &Queue,
        is_last: bool,
    ) -> Result<(), Failure> {
        let due = self.active.due(Instant::now(), is_last);
        for keys in due.chunks(ALERTS) {
            let answer = client.post(&self.post(keys)).await.map_err(Failure::from)?;
            if answer.status.is_success() {
                if self.active.sent(keys, Instant::now()) > 0 {
                    queue.losses().recover();
                }
            } else if is_passing(answer.status) {
                return Err(Failure::from(&answer));
            } else {
                // Another attempt would be rejected as well.
                queue.losses().lose(self.active.forget(keys), answer.words());
            }
        }
        Ok(())
    }

    fn post(&self, keys: &[Key]) -> Post {
        let alerts = self.active.alerts(keys, Timestamp::now());
        // Alerts consist of strings and times, which cannot fail to encode.
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        Post { uri: self.uri.clone(), content_type: "application/json", body: body.into() }
    }
}
