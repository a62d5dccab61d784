//! The store: events and the ledger in an SQLite database.
//!
//! Like a sink, the store has a bounded queue and a thread. The queue never blocks its caller; an
//! event that finds it full is counted as lost. Messages that wait are committed together.
//!
//! # Durability
//!
//! The database has a write-ahead log that is synced at every commit (`journal_mode = WAL`,
//! `synchronous = FULL`). What is committed when [`StoreQueue::flush`] returns survives `kill -9`,
//! and a power loss if the disk keeps what it has acknowledged. Messages that were queued but not
//! committed are lost when the agent is killed. A commit is kept as a whole or not at all. A database
//! that was not closed is checked when it is opened. A damaged one is set aside, and a new one takes
//! its place.
//!
//! If the store cannot write, it logs that once, counts events as lost, holds back the changes of the
//! ledger, and tries again.
//!
//! # The history by day
//!
//! What is kept for years ([`monitor_ledger::days`]) is in a database of its own, with limits of its own.
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
//! // On the first thread, with the privileges of the running agent.
//! let mut store = Store::open(config);
//! let mut ledger = match store.ledger() {
//!     Some(kept) => kept.restore(start)?,
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

mod age;
mod database;
mod error;
mod filter;
mod history;
mod keeper;
mod kept_ledger;
mod queue;
mod reader;
mod record;
mod remedy;
mod schema;
mod set_aside;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    error::StoreError,
    filter::Filter,
    history::{HistoryReader, KeptHistory, Period, history_path},
    keeper::Store,
    kept_ledger::KeptLedger,
    queue::StoreQueue,
    reader::{Place, ReadError, Reader},
    record::Record,
    remedy::with_remedy,
};
