//! The queue of the store.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use monitor_ledger::{Changes, days::ChronicleChanges};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    keeper::Store,
    record::Record,
    writer::{Message, Shared, Writer},
};
use crate::{
    config::StoreConfig,
    event::{EncodedEvent, EventLosses},
};

/// Messages in the queue at most.
const QUEUE_CAPACITY: usize = 8192;

/// The queue of the store. Clones share it.
#[derive(Clone, Debug)]
pub struct StoreQueue {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

impl StoreQueue {
    /// Starts the writer.
    pub fn start(store: Store) -> io::Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(store, Arc::clone(&shared));
        thread::Builder::new().name("store".into()).spawn(move || writer.run(receiver))?;
        Ok(Self { messages, shared })
    }

    /// Queues an event, or counts it as lost.
    pub fn send(&self, encoded: &EncodedEvent) {
        let message = Message::Event(Record::from(encoded));
        let is_lost = self.messages.try_send(message).is_err();
        self.shared.lost_in_queue.fetch_add(u64::from(is_lost), Relaxed);
    }

    /// Whether the queue has room for an event now.
    pub fn has_room(&self) -> bool {
        self.messages.capacity() > 0
    }

    /// Queues changes of the ledger. Returns them if the queue is full: see
    /// [`monitor_ledger::Ledger::requeue`].
    pub fn save(&self, changes: Changes) -> Result<(), Box<Changes>> {
        self.messages.try_send(Message::Ledger(Box::new(changes))).map_err(|error| {
            match error.into_inner() {
                Message::Ledger(changes) => changes,
                _ => unreachable!("the message is the one that was sent"),
            }
        })
    }

    /// Queues changes of the history. Returns them if the queue is full: see
    /// [`monitor_ledger::days::Chronicle::requeue`].
    pub fn save_history(&self, changes: ChronicleChanges) -> Result<(), Box<ChronicleChanges>> {
        self.messages.try_send(Message::History(Box::new(changes))).map_err(|error| {
            match error.into_inner() {
                Message::History(changes) => changes,
                _ => unreachable!("the message is the one that was sent"),
            }
        })
    }

    /// Whether a new database of the history was created since the last call.
    pub fn needs_whole_history(&self) -> bool {
        self.shared.is_new_history.swap(false, Relaxed)
    }

    /// Whether a new database was created since the last call. It lacks every port of the ledger that
    /// is not saved again.
    pub fn needs_whole_ledger(&self) -> bool {
        self.shared.is_new.swap(false, Relaxed)
    }

    /// Events lost so far.
    pub fn losses(&self) -> EventLosses {
        EventLosses {
            queue: self.shared.lost_in_queue.load(Relaxed),
            sink: self.shared.lost_in_store.load(Relaxed),
        }
    }

    /// Applies `retain` and `max_size` of `config` from now on; another path needs another store. A
    /// writer that hangs with its disk applies them when it continues.
    pub fn limit(&self, config: &StoreConfig) {
        *self.shared.next_limits() = Some(config.clone());
        // A full queue wakes the writer as well.
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
