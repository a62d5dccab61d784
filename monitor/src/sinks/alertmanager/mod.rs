//! Alerts that are sent to an Alertmanager directly, without a scrape.
//!
//! Binds on dormant ports, unexpected owners, answers without a socket and sockets that look for a port
//! raise alerts. An alert is sent repeatedly while it
//! is active, and resolved when its port is quiet again. The labels are those of Prometheus' alerts
//! of the same names, so that Alertmanager takes both for one alert. Annotations describe the
//! process.

mod active;
mod alert;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Uri;
use jiff::Timestamp;
use tokio::time::sleep_until;

pub(super) use self::alert::is_alarming;
use self::{
    active::{Active, Key},
    alert::Labels,
};
use super::{
    backoff::{Backoff, jitter},
    http::{Client, Post},
    queue::{Queue, Work},
    remote::is_passing,
};
use crate::{config::HttpUrl, event::EncodedEvent};

/// Events that are processed together at most.
const BATCH: usize = 256;

/// Alerts in a request at most.
const ALERTS: usize = 64;

/// How often the ports of active alerts are checked.
const LOOK_PERIOD: Duration = Duration::from_secs(15);

/// Whether the state of a port is another one than quiet.
pub type IsAwake = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// An Alertmanager.
#[derive(Debug)]
pub(super) struct Alertmanager {
    uri: Uri,
    labels: Labels,
}

/// A failed attempt that may be repeated.
struct Failure {
    why: String,
    /// The pause that the receiver asks for.
    retry_after: Option<Duration>,
}

/// The time between two attempts.
#[derive(Default)]
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
    pub(super) fn new(url: &HttpUrl, labels: &BTreeMap<String, String>) -> Self {
        Self { uri: url.join("/api/v2/alerts"), labels: Labels::new(labels) }
    }

    /// Sends alerts for the events of `queue` until it is closed.
    pub(super) async fn work(
        self,
        client: Client,
        queue: &Queue,
        is_awake: &(dyn Fn(u16) -> bool + Send + Sync),
    ) {
        let mut active = Active::default();
        let mut pause = Pause::default();
        loop {
            let mut is_last = false;
            tokio::select! {
                work = queue.next(BATCH) => match work {
                    Work::Reopen => {}
                    Work::End => is_last = true,
                    Work::Events(events) => self.take_over(&events, &mut active, queue),
                },
                () = wait(active.next_due(), &pause) => {}
            }
            let now = Instant::now();
            active.end_quiet(is_awake, now);
            if is_last || pause.is_over(now) {
                match self.send_due(&client, &mut active, queue).await {
                    Ok(()) => pause = Pause::default(),
                    Err(failure) if is_last => return queue.lose_held(failure.why),
                    Err(failure) => pause.extend(failure, queue.losses().name()),
                }
                queue.losses().lose(active.give_up(Instant::now()), "they are over");
                queue.hold(active.unsent());
            }
            if is_last {
                return;
            }
        }
    }

    fn take_over(&self, events: &[Arc<EncodedEvent>], active: &mut Active, queue: &Queue) {
        for encoded in events {
            if !active.raise(&encoded.event, &self.labels, Instant::now()) {
                queue.losses().lose(1, "too many alerts are active");
            }
        }
        queue.taken_over(events.len());
        queue.hold(active.unsent());
    }

    /// Sends every alert that is due now.
    async fn send_due(
        &self,
        client: &Client,
        active: &mut Active,
        queue: &Queue,
    ) -> Result<(), Failure> {
        let due = active.due(Instant::now());
        for keys in due.chunks(ALERTS) {
            let answer = match client.post(&self.post(active, keys)).await {
                Ok(answer) => answer,
                Err(why) => return Err(Failure { why, retry_after: None }),
            };
            if answer.status.is_success() {
                if active.sent(keys, Instant::now()) > 0 {
                    queue.losses().recover();
                }
            } else if is_passing(answer.status) {
                let why = answer.words();
                return Err(Failure { why, retry_after: answer.retry_after });
            } else {
                // Another attempt would be rejected as well.
                queue.losses().lose(active.forget(keys), answer.words());
            }
        }
        Ok(())
    }

    fn post(&self, active: &Active, keys: &[Key]) -> Post {
        let alerts = active.alerts(keys, Timestamp::now());
        // Alerts consist of strings and times, which cannot fail to encode.
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        Post { uri: self.uri.clone(), content_type: "application/json", body: body.into() }
    }
}
