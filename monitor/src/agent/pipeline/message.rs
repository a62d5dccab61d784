//! What the queue of the pipeline carries, and what both of its ends share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use monitor_common::{sample_record::SampleRecord, socket_record::SocketRecord};
use monitor_kernel::snapshot::Snapshot;
use monitor_ledger::ClockReading;
use tokio::sync::{Notify, oneshot};

use super::progress::Progress;
use crate::{
    agent::scan::Scan,
    config::{
        Config, EvidenceLimits, IdentifiedEvents, ListenersConfig, PayloadConfig, WatchedPort,
    },
    event::Event,
    listeners::SharedOverview,
    process::{ExecutableFacts, Inspected},
    sockets::Capture,
};

/// Work for the thread of the pipeline.
#[derive(Debug)]
pub(super) enum Message {
    /// A socket call.
    Call(Box<SocketRecord>),
    /// A sampled packet.
    Sample(Box<SampleRecord>),
    /// The kernel's counters at a time.
    Counters(ClockReading, Box<Snapshot>),
    /// What a scan of sockets found.
    Scan(Scan),
    /// Captures that a look at some processes found, which began at this time.
    Captures(ClockReading, Vec<Capture>),
    /// What a look at the executable of a process found.
    Evidence(Inspected, Arc<ExecutableFacts>),
    /// An event of the agent itself.
    Event(Box<Event>),
    /// Another configuration.
    Configure(Wanted, ClockReading),
    /// Emits all summaries, saves the ledger, then answers.
    Flush(oneshot::Sender<()>),
}

/// What a configuration wants of the pipeline.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The ports to watch.
    pub ports: Vec<WatchedPort>,
    /// What events have of payloads.
    pub payload: PayloadConfig,
    /// Whether events alike are summed up.
    pub identified: IdentifiedEvents,
    /// Which listeners are reported.
    pub listeners: ListenersConfig,
    /// What may be read of executables.
    pub evidence: EvidenceLimits,
}

impl From<&Config> for Wanted {
    fn from(config: &Config) -> Self {
        let ports = config.ports.clone();
        Self {
            ports,
            payload: config.payload,
            identified: config.identified,
            listeners: config.listeners.clone(),
            evidence: config.evidence,
        }
    }
}

/// What the thread and the handles share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Socket calls and events that were lost.
    pub(super) lost: AtomicU64,
    /// Samples that were lost.
    pub(super) lost_samples: AtomicU64,
    /// Ports whose holders differed between the events and a scan.
    pub(super) differences: AtomicU64,
    /// Whether counters are queued. Those of thousands of ports take megabytes.
    pub(super) counters_queued: AtomicBool,
    /// The listeners that the last scan found.
    pub(super) listeners: SharedOverview,
    /// How the thread gets on.
    pub(super) progress: Progress,
    /// Notified when a socket on a watched port was opened or closed.
    pub(super) socket_changed: Notify,
}
