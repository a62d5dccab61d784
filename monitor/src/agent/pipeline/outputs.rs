//! Where the events of the pipeline go.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::message::Shared;
use crate::{
    agent::bounded_wait::BoundedWait,
    event::{EncodedEvent, Event, broadcast::EventBroadcast},
    sinks::EventQueue,
    store::StoreQueue,
};

/// How long the events of one reading or scan wait for room in the queue of the store: a port scan
/// may awaken all ports at once. Socket calls wait in the queue of the pipeline meanwhile.
pub(super) const STORE_WAIT: Duration = Duration::from_secs(5);

/// How long an event waits for room in the queues of the sinks, which are useful without some
/// events as well.
const SINK_WAIT: Duration = Duration::from_millis(50);

/// The subscribers of the stream.
pub(super) struct Broadcasts {
    /// Of what the sinks and the store get.
    pub(super) summed: EventBroadcast,
    /// Of every event.
    pub(super) every: EventBroadcast,
}

/// The subscribers of the stream, the store and the sinks.
pub(super) struct Outputs {
    pub(super) store: StoreQueue,
    sinks: EventQueue,
    broadcasts: Broadcasts,
    store_wait: BoundedWait,
    sink_wait: BoundedWait,
    shared: Arc<Shared>,
}

impl Outputs {
    pub(super) fn new(
        sinks: EventQueue,
        store: StoreQueue,
        broadcasts: Broadcasts,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            store,
            sinks,
            broadcasts,
            store_wait: BoundedWait::default(),
            sink_wait: BoundedWait::default(),
            shared,
        }
    }

    /// Waits until the queues have room for another event; for the store, until `deadline` at the
    /// latest.
    pub(super) fn wait_for_room(&mut self, deadline: Instant) {
        self.store_wait.wait(deadline, || self.store.has_room());
        // A sink that keeps up has room at once; one that hangs does not delay the others.
        self.sink_wait.wait(Instant::now() + SINK_WAIT, || self.sinks.has_room());
    }

    /// Encodes an event once, for all of them.
    pub(super) fn emit(&self, event: Event) {
        let Some(encoded) = self.encoded(event) else { return };
        let encoded = Arc::new(encoded);
        self.broadcasts.summed.send(&encoded.line);
        self.store.send(&encoded);
        self.sinks.send(&encoded);
    }

    /// Sends an event to those who subscribe to every one.
    pub(super) fn show(&self, event: &Event) {
        let every = &self.broadcasts.every;
        if !every.has_subscribers() {
            return every.skip();
        }
        if let Some(encoded) = self.encoded(event.clone()) {
            every.send(&encoded.line);
        }
    }

    fn encoded(&self, event: Event) -> Option<EncodedEvent> {
        let lost = |error: &serde_json::Error| {
            self.shared.lost.fetch_add(1, Relaxed);
            tracing::error!("cannot encode an event as JSON: {error}");
        };
        EncodedEvent::new(event).inspect_err(lost).ok()
    }
}
