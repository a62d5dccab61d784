//! Where events go: one bounded queue into one writer, which writes to every sink in turn.
//!
//! The queue never makes its caller wait: an event that finds it full is counted and dropped. The
//! writer is a thread of its own, so that a sink that blocks, as a pipe that nobody reads, holds up
//! neither the agent nor its exit.

mod sink;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub use self::sink::Sink;
use crate::{config::SinkConfig, event::Event};

/// Events that wait for the writer at most.
const QUEUE_CAPACITY: usize = 8192;

/// The way to the sinks; clones share one queue.
#[derive(Clone, Debug)]
pub struct EventQueue {
    messages: mpsc::Sender<Message>,
    losses: Arc<LossCounters>,
}

/// Events that reached no sink, or not all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLosses {
    /// The queue was full.
    pub queue: u64,
    /// A sink could not be written to; counted for each sink.
    pub sink: u64,
}

/// A sink that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot write events to {}: {source}", path.display())]
pub struct SinkError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug, Default)]
struct LossCounters {
    queue: AtomicU64,
    sink: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Event(Box<Event>),
    Reopen,
    Replace(Vec<Sink>),
    Close(oneshot::Sender<()>),
}

impl EventQueue {
    /// Starts the writer.
    pub fn start(sinks: Vec<Sink>) -> Result<Self, SinkError> {
        let (messages, receiver) = mpsc::channel(QUEUE_CAPACITY);
        let losses = Arc::new(LossCounters::default());
        let counters = Arc::clone(&losses);
        thread::Builder::new()
            .name("events".into())
            .spawn(move || run_writer(receiver, sinks, &counters))
            .map_err(|source| SinkError { path: "a thread".into(), source })?;
        Ok(Self { messages, losses })
    }

    /// Queues `event`, or counts it as lost.
    pub fn send(&self, event: Event) {
        if self.messages.try_send(Message::Event(Box::new(event))).is_err() {
            self.losses.queue.fetch_add(1, Relaxed);
        }
    }

    /// Whether an event would find room now.
    pub fn has_room(&self) -> bool {
        self.messages.capacity() > 0
    }

    /// What was lost so far.
    pub fn losses(&self) -> EventLosses {
        EventLosses { queue: self.losses.queue.load(Relaxed), sink: self.losses.sink.load(Relaxed) }
    }

    /// Opens every file anew, after the events that are queued now.
    pub async fn reopen(&self) {
        self.order(Message::Reopen).await;
    }

    /// Writes to the sinks of `configs` from now on, after the events that are queued now.
    pub async fn replace(&self, configs: &[SinkConfig]) -> Result<(), SinkError> {
        self.order(Message::Replace(open(configs)?)).await;
        Ok(())
    }

    /// Writes what is queued and ends the writer; `false` if that took longer than `limit`.
    pub async fn close(&self, limit: Duration) -> bool {
        let (done, closed) = oneshot::channel();
        let close = async {
            self.order(Message::Close(done)).await;
            // An error means that the writer has ended already.
            let _ = closed.await;
        };
        timeout(limit, close).await.is_ok()
    }

    async fn order(&self, message: Message) {
        // Only a writer that was closed takes no orders, and it needs none.
        let _ = self.messages.send(message).await;
    }
}

/// Opens the sinks of `configs`.
pub fn open(configs: &[SinkConfig]) -> Result<Vec<Sink>, SinkError> {
    configs.iter().map(Sink::open).collect()
}

fn run_writer(mut messages: mpsc::Receiver<Message>, mut sinks: Vec<Sink>, losses: &LossCounters) {
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Event(event) => {
                losses.sink.fetch_add(write(&event, &mut sinks), Relaxed);
            }
            Message::Reopen => sinks.iter_mut().for_each(Sink::reopen),
            Message::Replace(replacement) => sinks = replacement,
            Message::Close(done) => {
                // From here on a sender counts its event itself; those that came in between are
                // counted here, so that none is lost silently.
                messages.close();
                while let Ok(message) = messages.try_recv() {
                    let is_event = matches!(message, Message::Event(_));
                    losses.queue.fetch_add(u64::from(is_event), Relaxed);
                }
                // Whoever waited may have given up.
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Writes `event` to every sink and tells how many of them lost it.
fn write(event: &Event, sinks: &mut [Sink]) -> u64 {
    match event.to_line() {
        Ok(line) => sinks.iter_mut().map(|sink| u64::from(!sink.write(&line))).sum(),
        Err(error) => {
            tracing::error!("an event cannot be written as JSON: {error}");
            sinks.len() as u64
        }
    }
}

#[cfg(test)]
mod tests;
