//! The store: events and the ledger in an SQLite database, kept as well as the disk allows.
//!
//! One bounded queue into one thread, as the sinks have it. It never makes its caller wait; what
//! finds it full is counted. What is waiting is committed together.
//!
//! # Durability
//!
//! The database has a write-ahead log that is synced at every commit (`journal_mode = WAL`,
//! `synchronous = FULL`). What was committed when [`StoreQueue::flush`] returns survives `kill -9`,
//! and a power loss as far as the disk keeps what it says it has. What was queued and not committed
//! is lost with the agent; never is a part of a commit kept. A database that was not closed is
//! checked when it is opened; one that is damaged is set aside and begun anew.
//!
//! Where nothing can be written, the log says so once, events are counted as lost, changes of the
//! ledger wait for better times, and the store tries again.
//!
//! # Use
//!
//! ```no_run
//! # async fn example(config: &ghostport::config::StoreConfig, event: ghostport::event::Event,
//! #     start: monitor_ledger::Start) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use ghostport::{ledger::Ledger, store::{Store, StoreQueue}};
//!
//! // On the first thread, with the privileges that the agent keeps.
//! let mut store = Store::open(config);
//! let mut ledger = match store.ledger() {
//!     Some((saved, ports)) => Ledger::restore(&saved, ports, start)?,
//!     None => Ledger::new(start),
//! };
//! let queue = StoreQueue::start(store)?;
//! // Every event.
//! queue.send(&event);
//! // Every few seconds, and after an awakening.
//! if queue.needs_whole_ledger() {
//!     ledger.mark_unsaved();
//! }
//! if let Err(changes) = queue.save(ledger.take_changes()) {
//!     ledger.requeue(&changes);
//! }
//! // At the end.
//! queue.close(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```

mod database;
mod error;
mod keeper;
mod reader;
mod record;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub use self::{
    database::KeptLedger,
    error::StoreError,
    keeper::Store,
    reader::{Filter, Place, ReadError, Reader},
    record::Record,
};
use crate::{config::StoreConfig, event::Event, sinks::EventLosses};
use monitor_ledger::Changes;

/// Messages that wait for the writer at most.
const QUEUE_CAPACITY: usize = 8192;

/// Events that are committed together at most.
const BATCH: usize = 1024;

/// The way to the store; clones share one queue.
#[derive(Clone, Debug)]
pub struct StoreQueue {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lost_in_queue: AtomicU64,
    lost_in_store: AtomicU64,
    begun_anew: AtomicBool,
    /// Limits that the writer has not taken yet.
    next_limits: Mutex<Option<StoreConfig>>,
}

impl Shared {
    fn next_limits(&self) -> MutexGuard<'_, Option<StoreConfig>> {
        self.next_limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Message {
    Event(Record),
    Ledger(Box<Changes>),
    /// The limits have changed.
    Limit,
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

impl StoreQueue {
    /// Starts the writer.
    pub fn start(store: Store) -> io::Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared::default());
        let writer =
            Writer { store, shared: Arc::clone(&shared), records: Vec::new(), changes: None };
        thread::Builder::new().name("store".into()).spawn(move || writer.run(receiver))?;
        Ok(Self { messages, shared })
    }

    /// Queues `event`, or counts it as lost.
    pub fn send(&self, event: &Event) {
        let sent = match Record::new(event) {
            Ok(record) => self.messages.try_send(Message::Event(record)).is_ok(),
            Err(error) => {
                tracing::error!("an event cannot be written as JSON: {error}");
                false
            }
        };
        self.shared.lost_in_queue.fetch_add(u64::from(!sent), Relaxed);
    }

    /// Whether an event would find room now.
    pub fn has_room(&self) -> bool {
        self.messages.capacity() > 0
    }

    /// Queues changes of the ledger. What finds the queue full comes back: see
    /// [`monitor_ledger::Ledger::requeue`].
    pub fn save(&self, changes: Changes) -> Result<(), Box<Changes>> {
        self.messages.try_send(Message::Ledger(Box::new(changes))).map_err(|error| {
            match error.into_inner() {
                Message::Ledger(changes) => changes,
                _ => unreachable!("the message is the one that was sent"),
            }
        })
    }

    /// Whether the database was begun anew since this was last asked, and lacks every port of the
    /// ledger that is not saved again.
    pub fn needs_whole_ledger(&self) -> bool {
        self.shared.begun_anew.swap(false, Relaxed)
    }

    /// What was lost so far: by the queue, and because nothing could be written.
    pub fn losses(&self) -> EventLosses {
        EventLosses {
            queue: self.shared.lost_in_queue.load(Relaxed),
            sink: self.shared.lost_in_store.load(Relaxed),
        }
    }

    /// Keeps `retain` and `max_size` of `config` from now on. Another path needs another store. A
    /// writer that hangs with its disk keeps them when it goes on.
    pub fn limit(&self, config: &StoreConfig) {
        *self.shared.next_limits() = Some(config.clone());
        // A queue without room wakes the writer as well.
        let _ = self.messages.try_send(Message::Limit);
    }

    /// Waits until everything that is queued now is committed, or counted as lost.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.messages.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer has ended.
            let _ = flushed.await;
        }
    }

    /// Writes what is queued and closes the database; `false` if that took longer than `limit`.
    pub async fn close(&self, limit: Duration) -> bool {
        let close = async {
            let (done, closed) = oneshot::channel();
            if self.messages.send(Message::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        };
        timeout(limit, close).await.is_ok()
    }
}

/// The thread's own.
struct Writer {
    store: Store,
    shared: Arc<Shared>,
    /// What is to be committed next.
    records: Vec<Record>,
    changes: Option<Changes>,
}

impl Writer {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.blocking_recv() {
            let mut next = Some(message);
            while let Some(message) = next {
                if let Message::Close(done) = message {
                    self.close(messages, done);
                    return;
                }
                self.take(message);
                next = messages.try_recv().ok();
            }
            self.take_limits();
            self.commit();
        }
        // Nobody is left to send anything.
        self.commit();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(record) => self.records.push(record),
            Message::Ledger(changes) => {
                // Two in one commit would have to be merged.
                if self.changes.is_some() {
                    self.commit();
                }
                self.changes = Some(*changes);
            }
            // Every batch looks for limits.
            Message::Limit => {}
            Message::Flush(done) => {
                self.commit();
                // Whoever waited may have given up.
                let _ = done.send(());
            }
            Message::Close(_) => unreachable!("the caller has seen to it"),
        }
        if self.records.len() >= BATCH {
            self.commit();
        }
    }

    fn take_limits(&mut self) {
        let limits = self.shared.next_limits().take();
        if let Some(config) = limits {
            self.store.limit(&config);
        }
    }

    fn commit(&mut self) {
        if self.records.is_empty() && self.changes.is_none() {
            return;
        }
        let lost = self.store.keep(&self.records, self.changes.take());
        self.records.clear();
        self.shared.lost_in_store.fetch_add(lost, Relaxed);
        self.shared.begun_anew.fetch_or(self.store.takes_begun_anew(), Relaxed);
    }

    fn close(mut self, mut messages: mpsc::Receiver<Message>, done: oneshot::Sender<()>) {
        // From here on a sender counts its event itself; those that came in between are counted
        // here, so that none is lost silently.
        messages.close();
        while let Ok(message) = messages.try_recv() {
            let is_event = matches!(message, Message::Event(_));
            self.shared.lost_in_queue.fetch_add(u64::from(is_event), Relaxed);
        }
        self.commit();
        // Closing writes the log back.
        drop(self);
        let _ = done.send(());
    }
}
