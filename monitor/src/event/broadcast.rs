//! Events as they happen, numbered, for those who subscribe.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};

use super::encode::JsonLine;

/// Events that a subscriber may lag behind before it loses some.
const CAPACITY: usize = 1024;

/// An event with its number in the broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// One more than the number of the event before. No other event of this or an earlier agent has
    /// the same number.
    pub number: u64,
    /// The event.
    pub line: JsonLine,
}

/// Which events a subscriber receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// Those that sinks and store get: events alike are summed up.
    Summed,
    /// Every one, and no summaries.
    Every,
}

/// Sends every event to every subscriber. Clones share the subscribers.
#[derive(Clone, Debug)]
pub struct EventBroadcast {
    sender: broadcast::Sender<NumberedEvent>,
    /// Locked while an event is numbered and sent, so that a new subscriber knows the number of the
    /// first event that it receives.
    numbers: Arc<Mutex<Numbers>>,
}

#[derive(Clone, Copy, Debug)]
struct Numbers {
    first: u64,
    next: u64,
}

/// Receives events from an [`EventBroadcast`].
#[derive(Debug)]
pub struct Subscriber {
    receiver: broadcast::Receiver<NumberedEvent>,
    /// The numbers at the time of the subscription.
    numbers: Numbers,
}

impl EventBroadcast {
    /// A broadcast without subscribers, whose first event has the number `first`.
    ///
    /// Microseconds since the epoch exceed every number of an earlier agent, unless that agent sent
    /// more than a million events a second.
    pub fn new(first: u64) -> Self {
        let numbers = Arc::new(Mutex::new(Numbers { first, next: first }));
        Self { sender: broadcast::channel(CAPACITY).0, numbers }
    }

    /// Numbers an event and sends it to the subscribers.
    pub fn send(&self, line: &JsonLine) {
        let mut numbers = self.lock();
        let number = numbers.next;
        numbers.next += 1;
        // An error means that there are no subscribers.
        let _ = self.sender.send(NumberedEvent { number, line: line.clone() });
    }

    /// Whether there is a subscriber.
    pub fn has_subscribers(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Numbers an event that no subscriber is there for.
    pub fn skip(&self) {
        self.lock().next += 1;
    }

    /// Subscribes to every event from now on.
    pub fn subscribe(&self) -> Subscriber {
        let numbers = self.lock();
        Subscriber { receiver: self.sender.subscribe(), numbers: *numbers }
    }

    /// A panic while the lock was held leaves the numbers valid.
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// How many events were sent after number `last` and before this subscription. `None` if this
    /// agent sent no event with that number.
    pub fn missed_since(&self, last: u64) -> Option<u64> {
        let Numbers { first, next } = self.numbers;
        (first..next).contains(&last).then(|| next - 1 - last)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if this subscriber was too slow and lost events, and
    /// [`RecvError::Closed`] if the agent has ended.
    pub async fn next(&mut self) -> Result<NumberedEvent, RecvError> {
        self.receiver.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> JsonLine {
        JsonLine::from("{}".to_owned())
    }

    #[tokio::test]
    async fn numbers_events_without_subscribers() {
        let broadcast = EventBroadcast::new(100);
        broadcast.send(&line());
        let mut subscriber = broadcast.subscribe();
        broadcast.send(&line());
        assert_eq!(subscriber.next().await, Ok(NumberedEvent { number: 101, line: line() }));
    }

    #[test]
    fn counts_the_events_that_a_returning_subscriber_missed() {
        let broadcast = EventBroadcast::new(100);
        for _ in 0..5 {
            broadcast.send(&line());
        }
        let subscriber = broadcast.subscribe();
        assert_eq!(subscriber.missed_since(104), Some(0));
        assert_eq!(subscriber.missed_since(100), Some(4));
        assert_eq!(subscriber.missed_since(99), None, "of an earlier agent");
        assert_eq!(subscriber.missed_since(105), None, "not sent yet");
        assert_eq!(subscriber.missed_since(u64::MAX), None);
    }
}
