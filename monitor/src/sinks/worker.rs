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
    queue::Queue,
    remote::{self, Format},
    webhook::Webhook,
};
use crate::{
    config::SinkConfig,
    event::{EncodedEvent, Event},
};

/// A sink that is open and has no thread yet.
pub struct Sink {
    config: SinkConfig,
    target: Target,
}

enum Target {
    Local(Box<dyn Local>),
    Remote(Box<dyn Format>, Client),
    Alertmanager(Alertmanager, Client),
}

/// A sink at work. After this is dropped, its thread writes what is queued and ends.
pub(super) struct Worker {
    config: SinkConfig,
    /// Whether the sink wants an event.
    wants: fn(&Event) -> bool,
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
        Ok(match config {
            SinkConfig::Stdout => Self::Local(Box::new(Lines::stdout()?)),
            SinkConfig::File { path } => Self::Local(Box::new(Lines::file(path.clone())?)),
            SinkConfig::Journal => Self::Local(Box::new(Journal::open()?)),
            SinkConfig::Webhook { url } => {
                Self::Remote(Box::new(Webhook(url.clone())), Client::new(url)?)
            }
            SinkConfig::Alertmanager { url, labels } => {
                Self::Alertmanager(Alertmanager::new(url, labels), Client::new(url)?)
            }
            SinkConfig::Otlp { endpoint } => {
                Self::Remote(Box::new(Otlp::new(endpoint)), Client::new(endpoint)?)
            }
        })
    }

    /// A local sink needs no I/O driver: it only waits for its queue.
    fn runtime(&self) -> io::Result<Runtime> {
        let mut builder = Builder::new_current_thread();
        match self {
            Self::Local(_) => builder.build(),
            Self::Remote(..) | Self::Alertmanager(..) => builder.enable_all().build(),
        }
    }

    fn wants(&self) -> fn(&Event) -> bool {
        match self {
            Self::Local(_) | Self::Remote(..) => |_| true,
            Self::Alertmanager(..) => alertmanager::is_alarming,
        }
    }

    async fn work(self, queue: &Queue, is_in_use: IsInUse) {
        match self {
            Self::Local(sink) => local::work(sink, queue).await,
            Self::Remote(format, client) => remote::work(format, client, queue).await,
            Self::Alertmanager(sink, client) => sink.work(client, queue, &*is_in_use).await,
        }
    }
}

impl Worker {
    pub(super) fn start(
        sink: Sink,
        lost: &Arc<AtomicU64>,
        is_in_use: &IsInUse,
    ) -> Result<Self, SinkError> {
        let Sink { config, target } = sink;
        let name = name(&config);
        let failed = |source| SinkError { sink: name.clone(), source };
        let queue = Arc::new(Queue::new(Losses::new(name.clone(), Arc::clone(lost))));
        let runtime = target.runtime().map_err(failed)?;
        let wants = target.wants();
        let (end, ended) = oneshot::channel();
        let (its_queue, is_in_use) = (Arc::clone(&queue), Arc::clone(is_in_use));
        let work = move || {
            runtime.block_on(target.work(&its_queue, is_in_use));
            // A name lookup may hang; do not wait for it.
            runtime.shutdown_background();
            drop(end);
        };
        thread::Builder::new().name("sink".into()).spawn(work).map_err(failed)?;
        Ok(Self { config, wants, queue, ended: Some(ended) })
    }

    pub(super) const fn config(&self) -> &SinkConfig {
        &self.config
    }

    pub(super) fn send(&self, encoded: &Arc<EncodedEvent>) {
        if (self.wants)(&encoded.event) {
            self.queue.push(encoded);
        }
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

/// Name of a sink in the log and in errors. Without the path of a URL, which may be a secret.
fn name(config: &SinkConfig) -> String {
    match config {
        SinkConfig::Stdout => "stdout".into(),
        SinkConfig::File { path } => path.display().to_string(),
        SinkConfig::Journal => "the journal".into(),
        SinkConfig::Webhook { url } => format!("the webhook at {}", url.origin()),
        SinkConfig::Alertmanager { url, .. } => format!("the Alertmanager at {}", url.origin()),
        SinkConfig::Otlp { endpoint } => format!("the OTLP receiver at {}", endpoint.origin()),
    }
}
