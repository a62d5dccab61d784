//! What the pipeline starts with.

use super::{message::Wanted, shared_ledger::SharedLedger};
use crate::{event::EventContext, sinks::EventQueue, store::StoreQueue};

/// What the pipeline starts with.
#[derive(Debug)]
pub struct Parts {
    /// The ledger, restored or new.
    pub ledger: SharedLedger,
    /// What the configuration wants.
    pub wanted: Wanted,
    /// Whether events have command lines.
    pub command_lines: bool,
    /// What all events have in common.
    pub context: EventContext,
    /// The sinks.
    pub queue: EventQueue,
    /// The store of events and ledger.
    pub store: StoreQueue,
}
