//! How many events a receiver gets in a second.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::queue::{Queue, Work};

const SECOND: Duration = Duration::from_secs(1);

/// Lets through so many events within any second. The others wait in the queue, and are counted.
#[derive(Debug)]
pub(super) struct Pace {
    rate: usize,
    /// When how many were let through within the last second.
    recent: VecDeque<(Instant, usize)>,
    /// How many those are together.
    passed: usize,
    /// How many of the next have waited.
    waited: usize,
    /// Events that have waited, of all receivers.
    held_back: Arc<AtomicU64>,
}

impl Pace {
    pub(super) const fn new(rate: NonZeroU32, held_back: Arc<AtomicU64>) -> Self {
        Self { rate: rate.get() as usize, recent: VecDeque::new(), passed: 0, waited: 0, held_back }
    }

    /// The next work of `queue` that there is room for, with `most` events at most. They stay in the
    /// queue; [`Self::pass`] says which are sent. Nothing is lost if this is dropped.
    pub(super) async fn next(&mut self, queue: &Queue, most: usize) -> Work {
        loop {
            match self.room(Instant::now()) {
                Ok(room) => return queue.next(most.min(room)).await,
                Err(until) => {
                    sleep_until(until).await;
                    self.waited = queue.len();
                }
            }
        }
    }

    /// These go out now.
    pub(super) fn pass(&mut self, events: usize) {
        self.recent.push_back((Instant::now(), events));
        self.passed += events;
        let waited = self.waited.min(events);
        self.waited -= waited;
        self.held_back.fetch_add(waited as u64, Relaxed);
    }

    /// How many may go out now, or from when on some may.
    pub(super) fn room(&mut self, now: Instant) -> Result<usize, Instant> {
        while let Some(&(at, events)) = self.recent.front()
            && now.duration_since(at) >= SECOND
        {
            self.recent.pop_front();
            self.passed -= events;
        }
        match (self.rate.saturating_sub(self.passed), self.recent.front()) {
            (0, Some((at, _))) => Err(*at + SECOND),
            (room, _) => Ok(room),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{losses::Losses, testing::encoded_stop};

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_the_rate() {
        let held_back = Arc::new(AtomicU64::new(0));
        let mut pace = Pace::new(NonZeroU32::new(10).expect("ten"), Arc::clone(&held_back));
        let queue = Queue::new(Losses::new("the sink".into(), Arc::default()));
        for _ in 0..35 {
            queue.push(&encoded_stop("x"));
        }
        let begin = Instant::now();
        let mut sent = Vec::new();
        while sent.iter().map(|(_, events)| events).sum::<usize>() < 35 {
            let Work::Events(events) = pace.next(&queue, 4).await else { panic!("no events") };
            pace.pass(events.len());
            queue.delivered(events.len());
            sent.push((begin.elapsed().as_secs(), events.len()));
        }
        let in_second = |second| -> usize {
            sent.iter().filter(|(at, _)| *at == second).map(|(_, events)| events).sum()
        };
        assert_eq!([0, 1, 2, 3].map(in_second), [10, 10, 10, 5], "{sent:?}");
        assert_eq!(held_back.load(Relaxed), 25);
    }
}
