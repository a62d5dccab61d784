//! Sends events to all sinks.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};

use super::{
    alertmanager::IsInUse,
    error::SinkError,
    worker::{Counts, Sink, Worker, name},
};
use crate::{
    config::{HeadersFile, SinkConfig},
    event::EncodedEvent,
};

/// How long a sink that a reload removes may take to write its queue.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// The queues of all sinks. Clones share them.
#[derive(Clone)]
pub struct EventQueue {
    shared: Arc<Shared>,
}

/// The sinks of a configuration that is not in force yet: see [`EventQueue::prepare`].
pub struct PreparedSinks {
    configs: Vec<SinkConfig>,
    /// Sinks that are not at work yet.
    added: Vec<Worker>,
}

struct Shared {
    workers: Mutex<Workers>,
    counts: Counts,
    is_in_use: IsInUse,
}

#[derive(Default)]
struct Workers {
    at_work: Vec<Worker>,
    /// Sinks that a reload removed, until they have written their queues.
    leaving: JoinSet<()>,
}

impl EventQueue {
    /// Starts a thread for each sink.
    pub fn start(sinks: Vec<Sink>, is_in_use: IsInUse) -> Result<Self, SinkError> {
        let shared = Shared { workers: Mutex::default(), counts: Counts::default(), is_in_use };
        for sink in sinks {
            let worker = shared.start(sink)?;
            shared.lock().at_work.push(worker);
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Queues an event for every sink that wants it. A sink whose queue is full counts it as lost.
    pub fn send(&self, encoded: &Arc<EncodedEvent>) {
        self.shared.lock().at_work.iter().for_each(|worker| worker.send(encoded));
    }

    /// Whether every queue has room for an event now.
    pub fn has_room(&self) -> bool {
        self.shared.lock().at_work.iter().all(Worker::has_room)
    }

    /// Events lost so far, summed over the sinks.
    pub fn lost(&self) -> u64 {
        self.shared.counts.lost.load(Relaxed)
    }

    /// Events that a receiver got later because of its rate, summed over the sinks.
    pub fn held_back(&self) -> u64 {
        self.shared.counts.held_back.load(Relaxed)
    }

    /// Opens every file again, as after a rotation.
    pub fn reopen(&self) {
        self.shared.lock().at_work.iter().for_each(Worker::reopen);
    }

    /// Opens those sinks of `configs` that are not at work, and starts their threads. They are
    /// closed again if the result is dropped.
    pub fn prepare(&self, configs: &[SinkConfig]) -> Result<PreparedSinks, SinkError> {
        check_headers(configs)?;
        let added = self.shared.start_missing(configs)?;
        Ok(PreparedSinks { configs: configs.to_vec(), added })
    }

    /// Writes to the sinks of `next` from now on. A sink that is at work already stays, with what
    /// is queued for it; one that is no longer wanted gets a moment to write what it has.
    pub fn replace(&self, next: PreparedSinks) {
        let PreparedSinks { configs, mut added } = next;
        let mut workers = self.shared.lock();
        let mut kept = std::mem::take(&mut workers.at_work);
        for config in &configs {
            let is_it = |worker: &Worker| worker.config() == config;
            let next = [&mut kept, &mut added]
                .into_iter()
                .find_map(|from| from.iter().position(is_it).map(|index| from.remove(index)));
            workers.at_work.extend(next);
        }
        // Remove those that have ended.
        while workers.leaving.try_join_next().is_some() {}
        for worker in kept {
            workers.leaving.spawn(worker.end(LEAVE_LIMIT));
        }
    }

    /// Writes what is queued and ends the threads. `false` if events are lost because that took
    /// longer than `limit`.
    pub async fn close(&self, limit: Duration) -> bool {
        let (mut leaving, ends) = {
            let mut workers = self.shared.lock();
            let leaving = std::mem::take(&mut workers.leaving);
            (leaving, workers.at_work.iter_mut().map(Worker::close).collect::<Vec<_>>())
        };
        let all = async {
            for end in ends {
                end.await;
            }
            while leaving.join_next().await.is_some() {}
        };
        let _ = timeout(limit, all).await;
        self.shared.lock().at_work.iter().map(Worker::abandon).sum::<u64>() == 0
    }
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").finish_non_exhaustive()
    }
}

impl fmt::Debug for PreparedSinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedSinks").field("configs", &self.configs).finish_non_exhaustive()
    }
}

impl Shared {
    fn start(&self, sink: Sink) -> Result<Worker, SinkError> {
        Worker::start(sink, &self.counts, &self.is_in_use)
    }

    /// Starts those of `configs` that are not at work. The lock is not held meanwhile, because a
    /// sink may take long to open.
    fn start_missing(&self, configs: &[SinkConfig]) -> Result<Vec<Worker>, SinkError> {
        let mut there: Vec<SinkConfig> =
            self.lock().at_work.iter().map(|worker| worker.config().clone()).collect();
        let mut is_missing = |config: &&SinkConfig| match there.iter().position(|c| c == *config) {
            Some(index) => {
                there.swap_remove(index);
                false
            }
            None => true,
        };
        let missing = configs.iter().filter(|config| is_missing(config));
        missing.map(|config| self.start(Sink::open(config.clone())?)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the headers of sinks that are at work already, too: they may have changed.
fn check_headers(configs: &[SinkConfig]) -> Result<(), SinkError> {
    let files = configs
        .iter()
        .filter_map(|config| Some((config, config.target.http()?.headers_file.as_deref()?)));
    for (config, file) in files {
        let failed = |error| SinkError { sink: name(config), source: io::Error::other(error) };
        HeadersFile::load(file).map_err(failed)?;
    }
    Ok(())
}

/// Opens the sinks of `configs`.
pub fn open(configs: &[SinkConfig]) -> Result<Vec<Sink>, SinkError> {
    configs.iter().cloned().map(Sink::open).collect()
}
