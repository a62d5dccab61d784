//! The thread that writes to the store.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use monitor_ledger::{Changes, days::ChronicleChanges};
use tokio::sync::{mpsc, oneshot};

use super::{keeper::Store, record::Record};
use crate::config::StoreConfig;

/// Events in a commit at most.
const BATCH: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) lost_in_queue: AtomicU64,
    pub(super) lost_in_store: AtomicU64,
    /// Whether a new database was created.
    pub(super) is_new: AtomicBool,
    /// The same of the history.
    pub(super) is_new_history: AtomicBool,
    /// Limits that the writer has not taken yet.
    next_limits: Mutex<Option<StoreConfig>>,
}

impl Shared {
    pub(super) fn next_limits(&self) -> MutexGuard<'_, Option<StoreConfig>> {
        self.next_limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) enum Message {
    Event(Record),
    Ledger(Box<Changes>),
    History(Box<ChronicleChanges>),
    /// The limits have changed.
    Limit,
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// The state of the thread.
pub(super) struct Writer {
    store: Store,
    shared: Arc<Shared>,
    /// Events of the next commit.
    records: Vec<Record>,
    changes: Option<Changes>,
}

impl Writer {
    pub(super) const fn new(store: Store, shared: Arc<Shared>) -> Self {
        Self { store, shared, records: Vec::new(), changes: None }
    }

    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
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
        // Every sender is gone.
        self.commit();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(record) => self.records.push(record),
            Message::Ledger(changes) => {
                // A commit has one set of changes; two would have to be merged.
                if self.changes.is_some() {
                    self.commit();
                }
                self.changes = Some(*changes);
            }
            Message::History(changes) => {
                self.store.keep_history(*changes);
                let is_new = self.store.take_is_new_history();
                self.shared.is_new_history.fetch_or(is_new, Relaxed);
            }
            // Every batch looks for limits.
            Message::Limit => {}
            Message::Flush(done) => {
                self.commit();
                // An error means that the caller has stopped waiting.
                let _ = done.send(());
            }
            Message::Close(_) => unreachable!("handled by the caller"),
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
        self.shared.is_new.fetch_or(self.store.take_is_new(), Relaxed);
    }

    fn close(mut self, mut messages: mpsc::Receiver<Message>, done: oneshot::Sender<()>) {
        // From here on a sender counts its event as lost. Events that were queued in between are
        // counted here.
        messages.close();
        while let Ok(message) = messages.try_recv() {
            let is_event = matches!(message, Message::Event(_));
            self.shared.lost_in_queue.fetch_add(u64::from(is_event), Relaxed);
        }
        self.commit();
        // Closing writes the log back to the database.
        drop(self);
        let _ = done.send(());
    }
}
