//! What the pipeline starts with.

use super::shared_ledger::SharedLedger;
use crate::{
    config::{PayloadKeep, WatchedPort},
    event::EventContext,
    sinks::EventQueue,
    store::StoreQueue,
};

/// What the pipeline starts with.
#[derive(Debug)]
pub struct Parts {
    /// The ledger, restored or new.
    pub ledger: SharedLedger,
    /// The watched ports.
    pub ports: Vec<WatchedPort>,
    /// What is kept of payloads.
    pub keep: PayloadKeep,
    /// Whether events have command lines.
    pub command_lines: bool,
    /// What all events have in common.
    pub context: EventContext,
    /// The sinks.
    pub queue: EventQueue,
    /// The store of events and ledger.
    pub store: StoreQueue,
}
