//! What the pipeline starts with.

use monitor_ledger::days::Chronicle;

use super::{
    message::Wanted, outbound::LastSenders, shared_hours::SharedHours, shared_ledger::SharedLedger,
};
use crate::{
    agent::selftests::Selftests,
    config::CommandLines,
    event::EventContext,
    listeners::SharedOverview,
    process::{HostFiles, Inspector},
    sinks::EventQueue,
    store::StoreQueue,
};

/// What the pipeline starts with.
#[derive(Debug)]
pub struct Parts {
    /// The ledger, restored or new.
    pub ledger: SharedLedger,
    /// The history by day, resumed or new.
    pub chronicle: Chronicle,
    /// The last hour of the ports, empty.
    pub hours: SharedHours,
    /// What the configuration wants.
    pub wanted: Wanted,
    /// What events have of command lines.
    pub command_lines: CommandLines,
    /// What all events have in common.
    pub context: EventContext,
    /// The sinks.
    pub queue: EventQueue,
    /// The store of events and ledger.
    pub store: StoreQueue,
    /// The processes that last sent to watched ports elsewhere, as the store has them.
    pub senders: LastSenders,
    /// Selftests of this agent.
    pub selftests: Selftests,
    /// The listeners that the last scan found; none yet.
    pub listeners: SharedOverview,
    /// What is known of the host's executables.
    pub host_files: HostFiles,
    /// Looks at executables; its thread is started with the pipeline.
    pub inspector: Inspector,
}
