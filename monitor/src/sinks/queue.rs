//! The queue of one sink, bounded in events and in bytes. It never blocks its producer.
//!
//! An event stays in the queue until its sink has delivered it. So the events that are left when
//! the time is up are those that are lost, including the one that the sink hangs on.

use std::{
    collections::VecDeque,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::{losses::Losses, sentence::sentence};
use crate::{
    event::{EncodedEvent, JsonLine},
    formats::EventFormat,
};

/// Events in a queue at most.
pub(super) const CAPACITY: usize = 8192;

/// Bytes of their JSON at most. The memory that they use is about the same.
const CAPACITY_BYTES: usize = 8 << 20;

/// Bytes of JSON in a batch, unless a single event has more.
const BATCH_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    news: Notify,
    closing: watch::Sender<bool>,
    losses: Losses,
    /// What the sink gets.
    format: EventFormat,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<EncodedEvent>>,
    bytes: usize,
    /// Events that the sink has taken over and not delivered yet.
    held: u64,
    reopen: bool,
    closing: bool,
    abandoned: bool,
}

/// What a sink does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Deliver these, the oldest of the queue, and report the outcome to the queue.
    Events(Vec<Arc<EncodedEvent>>),
    /// Open its target again.
    Reopen,
    /// End: the queue is closed and empty.
    End,
}

impl Queue {
    pub(super) fn new(losses: Losses) -> Self {
        let (closing, _) = watch::channel(false);
        let format = EventFormat::default();
        Self { state: Mutex::default(), news: Notify::new(), closing, losses, format }
    }

    /// The same with events in another format. The sink's thread encodes them.
    pub(super) fn in_format(self, format: EventFormat) -> Self {
        Self { format, ..self }
    }

    pub(super) const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Queues an event, or counts it as lost.
    pub(super) fn push(&self, encoded: &Arc<EncodedEvent>) {
        let mut state = self.lock();
        let refused = if state.closing {
            Some("the sink is closed")
        } else if state.events.len() >= CAPACITY
            || state.bytes + encoded.line.size() > CAPACITY_BYTES
        {
            Some("it does not keep up, and its queue is full")
        } else {
            None
        };
        if let Some(why) = refused {
            drop(state);
            return self.losses.lose(1, why);
        }
        state.bytes += encoded.line.size();
        state.events.push_back(Arc::clone(encoded));
        drop(state);
        self.news.notify_one();
    }

    /// Whether there is room for an event of usual size.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        state.events.len() < CAPACITY && state.bytes + BATCH_BYTES < CAPACITY_BYTES
    }

    /// Events that are queued.
    pub(super) fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Waits for the next work, with `most` events at most.
    pub(super) async fn next(&self, most: usize) -> Work {
        loop {
            let work = self.lock().work(most);
            match work {
                Some(Work::Events(events)) => return Work::Events(self.formatted(events)),
                Some(work) => return work,
                None => self.news.notified().await,
            }
        }
    }

    fn formatted(&self, events: Vec<Arc<EncodedEvent>>) -> Vec<Arc<EncodedEvent>> {
        if self.format == EventFormat::Ghostport {
            return events;
        }
        let encode = |encoded: &Arc<EncodedEvent>| {
            let message = sentence(&encoded.event);
            let text = self.format.encode(encoded.line.json(), Some(&message));
            let line = JsonLine::from(text.into_owned());
            Arc::new(EncodedEvent { line, event: encoded.event.clone() })
        };
        events.iter().map(encode).collect()
    }

    /// Waits until `most` events are queued, or the queue is closed.
    pub(super) async fn full(&self, most: usize) {
        while !self.lock().is_full(most) {
            self.news.notified().await;
        }
    }

    /// Removes the oldest `count` events, which were delivered.
    pub(super) fn delivered(&self, count: usize) {
        if self.lock().remove(count) > 0 {
            self.losses.recover();
        }
    }

    /// Removes the oldest `count` events and counts them as lost.
    pub(super) fn lost(&self, count: usize, why: impl Display) {
        let removed = self.lock().remove(count);
        self.losses.lose(removed as u64, why);
    }

    /// Removes the oldest `count` events. The sink keeps them itself from now on.
    pub(super) fn taken_over(&self, count: usize) {
        self.lock().remove(count);
    }

    /// Sets how many of the events that were taken over are not delivered yet.
    pub(super) fn hold(&self, held: u64) {
        let mut state = self.lock();
        if !state.abandoned {
            state.held = held;
        }
    }

    /// Counts the events that were taken over and not delivered as lost.
    pub(super) fn lose_held(&self, why: impl Display) {
        let held = std::mem::take(&mut self.lock().held);
        self.losses.lose(held, why);
    }

    /// Asks the sink to open its target again.
    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.news.notify_one();
    }

    /// Closes the queue. The sink ends when it has written what is queued.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.closing.send_replace(true);
        self.news.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until the queue is closed.
    pub(super) async fn closing(&self) {
        // An error is impossible: the queue owns the sender.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Counts the events that are left as lost, because the time is up. Returns their number.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.lock();
        state.abandoned = true;
        let everything = state.events.len();
        let left = state.remove(everything) as u64 + std::mem::take(&mut state.held);
        drop(state);
        self.losses.lose(left, "they could not be written in time");
        left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is nothing to wait for: a whole batch is queued, or no more comes.
    fn is_full(&self, most: usize) -> bool {
        self.closing || self.events.len() >= most || self.bytes >= BATCH_BYTES
    }

    fn work(&mut self, most: usize) -> Option<Work> {
        if std::mem::take(&mut self.reopen) {
            return Some(Work::Reopen);
        }
        if self.events.is_empty() {
            return self.closing.then_some(Work::End);
        }
        let mut room = BATCH_BYTES;
        let fits = |encoded: &&Arc<EncodedEvent>| {
            let fits = encoded.line.size() <= room;
            room = room.saturating_sub(encoded.line.size());
            fits
        };
        let batch: Vec<_> = self.events.iter().take(most).take_while(fits).cloned().collect();
        // An event that is larger than a batch goes alone.
        let batch = if batch.is_empty() { vec![Arc::clone(&self.events[0])] } else { batch };
        Some(Work::Events(batch))
    }

    /// Removes the oldest `count` events. Returns how many there were: none after
    /// [`Queue::abandon`].
    fn remove(&mut self, count: usize) -> usize {
        let count = count.min(self.events.len());
        let bytes: usize = self.events.drain(..count).map(|encoded| encoded.line.size()).sum();
        self.bytes -= bytes;
        count
    }
}
