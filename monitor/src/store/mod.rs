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
//! checked when it is opened; a damaged one is set aside and replaced.
//!
//! Where nothing can be written, the log says so once, events are counted as lost, changes of the
//! ledger wait for better times, and the store tries again.
//!
//! # Use
//!
//! ```no_run
//! # async fn example(config: &ghostport::config::StoreConfig, event: ghostport::event::EncodedEvent,
//! #     start: monitor_ledger::Start) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use ghostport::store::{Store, StoreQueue};
//! use monitor_ledger::Ledger;
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
mod queue;
mod reader;
mod record;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    database::KeptLedger,
    error::StoreError,
    keeper::Store,
    queue::StoreQueue,
    reader::{Filter, Place, ReadError, Reader},
    record::Record,
};
