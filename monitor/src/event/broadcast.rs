//! Those who follow events as they are told, and the numbers by which they know what they missed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};

/// Events that a follower may be behind.
const CAPACITY: usize = 1024;

/// An event on its way to those who follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// One more than that of the event before; no other event of this or an earlier agent has it.
    pub number: u64,
    /// The event as one line of JSON.
    pub line: Arc<str>,
}

/// Where events are told; clones share it.
#[derive(Clone, Debug)]
pub struct Followers {
    sender: broadcast::Sender<Told>,
    /// Held while an event is numbered and sent, so that whoever comes knows where the numbers are.
    numbers: Arc<Mutex<Numbers>>,
}

#[derive(Clone, Copy, Debug)]
struct Numbers {
    first: u64,
    next: u64,
}

/// One who follows.
#[derive(Debug)]
pub struct Follower {
    receiver: broadcast::Receiver<Told>,
    numbers: Numbers,
}

impl Followers {
    /// Nobody yet. The first event has the number `first`: microseconds since the epoch are later
    /// than any number of an earlier agent, as long as none told a million events a second.
    pub fn new(first: u64) -> Self {
        let numbers = Arc::new(Mutex::new(Numbers { first, next: first }));
        Self { sender: broadcast::channel(CAPACITY).0, numbers }
    }

    /// Tells an event, which is made only if somebody follows; it has a number in any case.
    pub fn tell(&self, line: impl FnOnce() -> Option<Arc<str>>) {
        let mut numbers = self.lock();
        let number = numbers.next;
        numbers.next += 1;
        if self.sender.receiver_count() > 0
            && let Some(line) = line()
        {
            // Nobody may be there any more.
            let _ = self.sender.send(Told { number, line });
        }
    }

    /// Every event from now on.
    pub fn follow(&self) -> Follower {
        let numbers = self.lock();
        Follower { receiver: self.sender.subscribe(), numbers: *numbers }
    }

    /// A poisoned lock guards numbers that are as good as before.
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// How many events came after the one with the number `last` and before this follower. `None`
    /// where another agent told that one, or nobody.
    pub fn missed_since(&self, last: u64) -> Option<u64> {
        let Numbers { first, next } = self.numbers;
        (first..next).contains(&last).then(|| next - 1 - last)
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// So many were lost, because this follower was too slow; or the agent has ended.
    pub async fn next(&mut self) -> Result<Told, RecvError> {
        self.receiver.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Option<Arc<str>> {
        Some("{}".into())
    }

    #[tokio::test]
    async fn numbers_go_on_when_nobody_follows() {
        let followers = Followers::new(100);
        followers.tell(|| panic!("nobody reads it"));
        let mut follower = followers.follow();
        followers.tell(line);
        assert_eq!(follower.next().await, Ok(Told { number: 101, line: "{}".into() }));
    }

    #[test]
    fn whoever_comes_back_knows_what_was_missed() {
        let followers = Followers::new(100);
        for _ in 0..5 {
            followers.tell(line);
        }
        let follower = followers.follow();
        assert_eq!(follower.missed_since(104), Some(0));
        assert_eq!(follower.missed_since(100), Some(4));
        assert_eq!(follower.missed_since(99), None, "of an earlier agent");
        assert_eq!(follower.missed_since(105), None, "of nobody");
        assert_eq!(follower.missed_since(u64::MAX), None);
    }
}
