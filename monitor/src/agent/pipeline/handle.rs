//! The handle of the pipeline: what the rest of the agent sends to it and reads from it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use monitor_common::{sample_record::SampleRecord, socket_record::SocketRecord};
use monitor_kernel::snapshot::Snapshot;
use monitor_ledger::{ClockReading, Ledger};
use tokio::sync::{mpsc, oneshot};

use super::{
    message::{Message, Shared, Wanted},
    outbound::LastSenders,
    outputs::Broadcasts,
    parts::Parts,
    progress::STALL,
    shared_hours::SharedHours,
    shared_ledger::{SharedLedger, lock},
    worker::Worker,
};
use crate::{
    agent::scan::Scan,
    api::{history::History, sender::Sender},
    classification::Tallies,
    event::{
        Event,
        broadcast::{EventBroadcast, Subscribed, Subscriber},
    },
    listeners::ListenerOverview,
    sockets::Capture,
};

/// Messages that wait at most: many times what the ring buffer holds.
const QUEUE_CAPACITY: usize = 16_384;

/// The handle of the pipeline. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Pipeline {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    ledger: SharedLedger,
    hours: SharedHours,
    tallies: Arc<Mutex<Tallies>>,
    senders: LastSenders,
    /// What the sinks and the store get.
    broadcast: EventBroadcast,
    /// The same before events alike are summed up.
    every: EventBroadcast,
}

impl Pipeline {
    /// Starts the thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let first = Timestamp::now().as_microsecond().unsigned_abs();
        let pipeline = Self {
            messages,
            shared: Arc::new(Shared { listeners: parts.listeners.clone(), ..Shared::default() }),
            ledger: Arc::clone(&parts.ledger),
            hours: parts.hours.clone(),
            tallies: Arc::default(),
            senders: parts.senders.clone(),
            broadcast: EventBroadcast::new(first),
            every: EventBroadcast::new(first),
        };
        let Self { shared, tallies, broadcast, every, .. } = &pipeline;
        let (findings, lost) = (pipeline.messages.downgrade(), Arc::clone(shared));
        parts.inspector.start(move |key, facts| {
            let message = Message::Evidence(key, Arc::clone(facts));
            // Without the pipeline there is nothing to report to.
            let Some(findings) = findings.upgrade() else { return };
            if findings.try_send(message).is_err() {
                lost.lost.fetch_add(1, Relaxed);
            }
        })?;
        let broadcasts = Broadcasts { summed: broadcast.clone(), every: every.clone() };
        let worker = Worker::new(parts, Arc::clone(shared), Arc::clone(tallies), broadcasts);
        thread::Builder::new().name("pipeline".into()).spawn(move || worker.run(receiver))?;
        Ok(pipeline)
    }

    /// Queues a socket call, or counts it as lost.
    pub fn submit_call(&self, record: SocketRecord) {
        if self.messages.try_send(Message::Call(Box::new(record))).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// Queues a sample, or counts it as lost.
    pub fn submit_sample(&self, sample: SampleRecord) {
        if self.messages.try_send(Message::Sample(Box::new(sample))).is_err() {
            self.shared.lost_samples.fetch_add(1, Relaxed);
        }
    }

    /// Queues an event of the agent itself, or counts it as lost.
    pub fn emit(&self, event: Event) {
        if self.messages.try_send(Message::Event(Box::new(event))).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// Queues the kernel's counters as they were at `at`. Every call that they count has to be
    /// submitted before.
    ///
    /// They are dropped if others are queued or the queue is full, because the next counters
    /// include them.
    pub fn submit_counters(&self, at: ClockReading, counters: Snapshot) {
        if self.shared.counters_queued.swap(true, Relaxed) {
            return;
        }
        if self.messages.try_send(Message::Counters(at, Box::new(counters))).is_err() {
            self.shared.counters_queued.store(false, Relaxed);
        }
    }

    /// Queues what a scan found. Every call before the end of the scan has to be submitted before.
    ///
    /// It is dropped if the queue is full, because the next scan finds it again.
    pub fn submit_scan(&self, scan: Scan) {
        let _ = self.messages.try_send(Message::Scan(scan));
    }

    /// Queues captures that a look at some processes found. A scan follows soon, for the API.
    ///
    /// They are dropped if the queue is full, because the scan finds those that are still there.
    pub fn submit_captures(&self, at: ClockReading, captures: Vec<Capture>) {
        let _ = self.messages.try_send(Message::Captures(at, captures));
        self.shared.socket_changed.notify_one();
    }

    /// Does what `wanted` says from now on.
    pub async fn configure(&self, wanted: Wanted, now: ClockReading) {
        self.send(Message::Configure(wanted, now)).await;
    }

    /// Waits until everything that is queued now is done; `false` if that takes longer than
    /// `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            self.send(Message::Flush(done)).await;
            // An error means that the thread has ended.
            let _ = flushed.await;
        };
        tokio::time::timeout(limit, flush).await.is_ok()
    }

    /// What payloads turned out to be so far.
    pub fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that last sent to a watched port of another host.
    pub fn last_sender(&self, port: u16) -> Option<Sender> {
        self.senders.of_port(port)
    }

    /// Samples that found the queue full.
    pub fn lost_samples(&self) -> u64 {
        self.shared.lost_samples.load(Relaxed)
    }

    /// Calls and events that found the queue full.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// How long the thread has worked on its message; 0 while it has none.
    pub fn busy_for(&self) -> Duration {
        self.shared.progress.busy_for()
    }

    /// How long the thread is stuck with one message; `None` if it is not.
    pub fn stalled_for(&self) -> Option<Duration> {
        Some(self.busy_for()).filter(|busy| *busy >= STALL)
    }

    /// How often a scan found a port held that was free according to the events, or the other way
    /// round. Binds and closes during the scan may be among them.
    pub fn differences(&self) -> u64 {
        self.shared.differences.load(Relaxed)
    }

    /// Waits until a socket on a watched port was opened or closed since this last returned.
    pub async fn socket_changed(&self) {
        self.shared.socket_changed.notified().await;
    }

    /// The ledger as it is now.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The last hour of a watched port; `None` of another one.
    pub fn history(&self, port: u16) -> Option<History> {
        let state = self.ledger().facts(port)?.state;
        Some(self.hours.lock().of_port(port, state))
    }

    /// The listeners that the last scan found; `None` while they are not watched.
    pub fn listeners(&self) -> Option<Arc<ListenerOverview>> {
        self.shared.listeners.get()
    }

    /// Subscribes to events from now on.
    pub fn subscribe(&self, events: Subscribed) -> Subscriber {
        match events {
            Subscribed::Summed => self.broadcast.subscribe(),
            Subscribed::Every => self.every.subscribe(),
        }
    }

    async fn send(&self, message: Message) {
        // An error means that the thread has ended, and there is nothing left to do.
        let _ = self.messages.send(message).await;
    }
}

#[cfg(test)]
mod tests {
    use monitor_ledger::{CounterEpoch, Start};

    use super::*;

    const NOW: ClockReading = ClockReading { wall: Timestamp::UNIX_EPOCH, boottime_ns: 0 };

    /// A pipeline whose thread does not run.
    fn stuck() -> (Pipeline, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(8);
        let counters = CounterEpoch { id: String::new(), adopted: false };
        let ledger = Ledger::new(Start { at: NOW, boot_id: String::new(), counters });
        let pipeline = Pipeline {
            messages,
            shared: Arc::default(),
            ledger: Arc::new(Mutex::new(ledger)),
            hours: SharedHours::default(),
            tallies: Arc::default(),
            senders: LastSenders::default(),
            broadcast: EventBroadcast::new(0),
            every: EventBroadcast::new(0),
        };
        (pipeline, receiver)
    }

    #[test]
    fn queues_counters_once() {
        let (pipeline, receiver) = stuck();
        for _ in 0..3 {
            pipeline.submit_counters(NOW, Snapshot::default());
        }
        assert_eq!(receiver.len(), 1);
    }
}
