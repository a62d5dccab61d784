//! One sink at work: its thread and its queue.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::timeout,
};

use super::{
    alertmanager::{self, Alertmanager, IsInUse},
    error::SinkError,
    file::Lines,
    http::Client,
    journal::Journal,
    local::{self, Local},
    losses::Losses,
    otlp::Otlp,
    pace::Pace,
    queue::Queue,
    remote::{self, Format},
    syslog::Syslog,
    webhook::Webhook,
};
use crate::{
    config::{SinkConfig, SinkTarget},
    event::{EncodedEvent, Event, EventBody},
};

/// A sink that is open and has no thread yet.
pub struct Sink {
    config: SinkConfig,
    target: Target,
}

enum Target {
    Local(Box<dyn Local>),
    Remote(Box<dyn Format>, Client, Option<Duration>),
    Alertmanager(Alertmanager, Client),
    Syslog(Syslog),
}

/// What happened to the events of all sinks. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Lost.
    pub(super) lost: Arc<AtomicU64>,
    /// Sent later because of a rate.
    pub(super) held_back: Arc<AtomicU64>,
}

/// A sink at work. After this is dropped, its thread writes what is queued and ends.
pub(super) struct Worker {
    config: SinkConfig,
    /// The labels of its events as JSON, if it has any.
    labels: Option<String>,
    queue: Arc<Queue>,
    /// Closed when the thread ends.
    ended: Option<oneshot::Receiver<()>>,
}

impl Sink {
    pub(super) fn open(config: SinkConfig) -> Result<Self, SinkError> {
        match Target::open(&config) {
            Ok(target) => Ok(Self { config, target }),
            Err(source) => Err(SinkError { sink: name(&config), source }),
        }
    }
}

impl Target {
    fn open(config: &SinkConfig) -> io::Result<Self> {
        Ok(match &config.target {
            SinkTarget::Stdout => Self::Local(Box::new(Lines::stdout()?)),
            SinkTarget::File { path, limits } => {
                Self::Local(Box::new(Lines::file(path.clone(), limits)?))
            }
            SinkTarget::Journal => Self::Local(Box::new(Journal::open(config.format)?)),
            SinkTarget::Syslog { address } => Self::Syslog(Syslog::open(address)?),
            SinkTarget::Webhook { url, template, http } => {
                let webhook = Webhook { url: url.clone(), template: template.clone() };
                Self::Remote(Box::new(webhook), Client::new(url, http)?, http.linger)
            }
            SinkTarget::Alertmanager { url, http } => {
                let alertmanager = Alertmanager::new(url, &config.labels, http.linger);
                Self::Alertmanager(alertmanager, Client::new(url, http)?)
            }
            SinkTarget::Otlp { endpoint, http } => {
                let client = Client::new(endpoint, http)?;
                Self::Remote(Box::new(Otlp::new(endpoint, config.format)), client, http.linger)
            }
        })
    }

    /// A local sink needs no I/O driver: it only waits for its queue.
    fn runtime(&self) -> io::Result<Runtime> {
        let mut builder = Builder::new_current_thread();
        match self {
            Self::Local(_) => builder.build(),
            Self::Remote(..) | Self::Alertmanager(..) | Self::Syslog(_) => {
                builder.enable_all().build()
            }
        }
    }

    async fn work(self, queue: &Queue, pace: Pace, is_in_use: IsInUse) {
        match self {
            Self::Local(sink) => local::work(sink, queue).await,
            Self::Remote(format, client, linger) => {
                remote::work(format, client, queue, linger, pace).await;
            }
            Self::Alertmanager(sink, client) => sink.work(client, queue, pace, &*is_in_use).await,
            Self::Syslog(sink) => sink.work(queue, pace).await,
        }
    }
}

impl Worker {
    pub(super) fn start(
        sink: Sink,
        counts: &Counts,
        is_in_use: &IsInUse,
    ) -> Result<Self, SinkError> {
        let Sink { config, target } = sink;
        let name = name(&config);
        let failed = |source| SinkError { sink: name.clone(), source };
        let losses = Losses::new(name.clone(), Arc::clone(&counts.lost));
        let queue = Arc::new(Queue::new(losses).in_format(config.format));
        let runtime = target.runtime().map_err(failed)?;
        let pace = Pace::new(config.rate, Arc::clone(&counts.held_back));
        let (end, ended) = oneshot::channel();
        let (its_queue, is_in_use) = (Arc::clone(&queue), Arc::clone(is_in_use));
        let work = move || {
            runtime.block_on(target.work(&its_queue, pace, is_in_use));
            // A name lookup may hang; do not wait for it.
            runtime.shutdown_background();
            drop(end);
        };
        thread::Builder::new().name("sink".into()).spawn(work).map_err(failed)?;
        let labels = event_labels(&config);
        Ok(Self { config, labels, queue, ended: Some(ended) })
    }

    pub(super) const fn config(&self) -> &SinkConfig {
        &self.config
    }

    pub(super) fn send(&self, encoded: &Arc<EncodedEvent>) {
        if !self.wants(&encoded.event) {
            return;
        }
        match self.labeled(encoded) {
            Some(labeled) => self.queue.push(&labeled),
            None => self.queue.push(encoded),
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let is_alertmanager = matches!(self.config.target, SinkTarget::Alertmanager { .. });
        // It adds to alerts of whatever kind.
        if is_alertmanager && matches!(event.body, EventBody::Executable(_)) {
            return true;
        }
        self.config.filter.takes(event.name(), event.severity())
            && (!is_alertmanager || alertmanager::is_alarming(event))
    }

    /// The event with the labels of this sink, if it has any.
    fn labeled(&self, encoded: &EncodedEvent) -> Option<Arc<EncodedEvent>> {
        let line = encoded.line.with_field("ghostport.labels", self.labels.as_deref()?);
        Some(Arc::new(EncodedEvent { line, ..encoded.clone() }))
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    pub(super) fn reopen(&self) {
        self.queue.reopen();
    }

    /// Accepts no more events. The future completes when those that are queued are written.
    pub(super) fn close(&mut self) -> impl Future<Output = ()> + use<> {
        self.queue.close();
        let ended = self.ended.take();
        async {
            if let Some(ended) = ended {
                // Nothing is ever sent: the end of the thread closes the channel.
                let _ = ended.await;
            }
        }
    }

    /// Counts the events that are still queued as lost.
    pub(super) fn abandon(&self) -> u64 {
        self.queue.abandon()
    }

    /// Writes what is queued and ends. Events that are not written within `limit` are lost.
    pub(super) async fn end(mut self, limit: Duration) {
        let _ = timeout(limit, self.close()).await;
        self.abandon();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The labels that a sink adds to its events, as JSON. Those of an Alertmanager are labels of alerts.
fn event_labels(config: &SinkConfig) -> Option<String> {
    let SinkConfig { target, labels, .. } = config;
    if labels.is_empty() || matches!(target, SinkTarget::Alertmanager { .. }) {
        return None;
    }
    serde_json::to_string(labels).ok()
}

/// Name of a sink in the log and in errors. Without the path of a URL, which may be a secret.
pub(super) fn name(config: &SinkConfig) -> String {
    match &config.target {
        SinkTarget::Stdout => "stdout".into(),
        SinkTarget::File { path, .. } => path.display().to_string(),
        SinkTarget::Journal => "the journal".into(),
        SinkTarget::Syslog { address } => format!("the syslog server at {address}"),
        SinkTarget::Webhook { url, .. } => format!("the webhook at {}", url.origin()),
        SinkTarget::Alertmanager { url, .. } => format!("the Alertmanager at {}", url.origin()),
        SinkTarget::Otlp { endpoint, .. } => format!("the OTLP receiver at {}", endpoint.origin()),
    }
}
