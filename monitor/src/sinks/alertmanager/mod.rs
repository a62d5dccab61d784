//! Alerts for an Alertmanager, without the way through a scrape.
//!
//! It is told of binds on dormant ports and of unexpected owners, as often as it has to be for the
//! alert to last, and of the end when the port is quiet again. Labels are those of Prometheus' alerts
//! of the same names, so that Alertmanager takes both for one; what else is known of the process is in
//! the annotations.

mod active;
mod alert;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
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
use crate::config::HttpUrl;

/// Events that are looked at together.
const BATCH: usize = 256;

/// Alerts of one request.
const ALERTS: usize = 64;

/// How often the ports are looked at whose alerts are active.
const LOOK_PERIOD: Duration = Duration::from_secs(15);

/// An Alertmanager.
#[derive(Debug)]
pub(super) struct Alertmanager {
    uri: Uri,
    labels: Labels,
}

/// What one attempt came to.
enum Attempt {
    Succeeded,
    /// Try again, after a pause that the receiver may have asked for.
    Failed(Option<Duration>, String),
}

impl Alertmanager {
    pub(super) fn new(url: &HttpUrl, labels: &BTreeMap<String, String>) -> Self {
        Self { uri: url.join("/api/v2/alerts"), labels: Labels::new(labels) }
    }

    /// Tells what comes to `queue` until it is closed.
    pub(super) async fn work(
        self,
        client: Client,
        queue: &Queue,
        is_awake: &(dyn Fn(u16) -> bool + Send + Sync),
    ) {
        let mut active = Active::default();
        let mut backoff = Backoff::default();
        let mut not_before = Instant::now();
        loop {
            let wake = active.next_due().map(|due| due.max(not_before));
            let look = Instant::now() + LOOK_PERIOD;
            let wake = wake.map_or(look, |wake| wake.min(look));
            let mut is_last = false;
            tokio::select! {
                work = queue.next(BATCH) => match work {
                    Work::Reopen => {}
                    Work::End => is_last = true,
                    Work::Events(events) => {
                        for told in &events {
                            if !active.raise(&told.event, &self.labels, Instant::now()) {
                                queue.losses().lose(1, "too many alerts are active");
                            }
                        }
                        queue.taken_over(events.len());
                        queue.hold(active.untold());
                    }
                },
                () = sleep_until(wake.into()) => {}
            }
            let now = Instant::now();
            active.end_quiet(is_awake, now);
            if now >= not_before || is_last {
                match self.tell(&client, &mut active, queue).await {
                    Attempt::Succeeded => backoff = Backoff::default(),
                    Attempt::Failed(pause, why) => {
                        if is_last {
                            queue.hold(0);
                            return queue.losses().lose(active.untold(), why);
                        }
                        if backoff.is_fresh() {
                            let name = queue.losses().name();
                            tracing::warn!("{name} takes no alerts now, and is tried again: {why}");
                        }
                        let pause = backoff.next(jitter()).max(pause.unwrap_or_default());
                        not_before = Instant::now() + pause;
                    }
                }
                queue.losses().lose(active.give_up(Instant::now()), "they are over");
                queue.hold(active.untold());
            }
            if is_last {
                return;
            }
        }
    }

    /// Tells everything that is due now.
    async fn tell(&self, client: &Client, active: &mut Active, queue: &Queue) -> Attempt {
        let due = active.due(Instant::now());
        for keys in due.chunks(ALERTS) {
            let answer = match client.post(&self.post(active, keys)).await {
                Ok(answer) => answer,
                Err(why) => return Attempt::Failed(None, why),
            };
            if answer.status.is_success() {
                if active.told(keys, Instant::now()) > 0 {
                    queue.losses().recover();
                }
            } else if is_passing(answer.status) {
                return Attempt::Failed(answer.retry_after, answer.words());
            } else {
                // It will not take them the next time either.
                queue.losses().lose(active.forget(keys), answer.words());
            }
        }
        Attempt::Succeeded
    }

    fn post(&self, active: &Active, keys: &[Key]) -> Post {
        let alerts = active.alerts(keys, Timestamp::now());
        // Strings and times alone: nothing that JSON does not have.
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        Post { uri: self.uri.clone(), content_type: "application/json", body: body.into() }
    }
}
