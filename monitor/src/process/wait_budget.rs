//! How long a thread may wait for others' processes.

use std::time::{Duration, Instant};

/// The longest wait for one read.
const LONGEST: Duration = Duration::from_millis(200);

/// A wait of any read, however many were slow: a thread that is ready gets a processor within this time.
const SHORTEST: Duration = Duration::from_millis(10);

/// Waits beyond the shortest that a thread may spend at once, and how much of its time in the long run.
const BURST: Duration = Duration::from_millis(400);
const SHARE: u32 = 5;

/// A bucket of waiting time. Many slow processes delay a thread no more than a few.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitBudget {
    left: Duration,
    at: Option<Instant>,
}

impl WaitBudget {
    pub(super) const fn full() -> Self {
        Self { left: BURST, at: None }
    }

    /// Calls `wait` with the time that it may take, and charges what it took.
    pub(super) fn spend<T>(&mut self, wait: impl FnOnce(Duration) -> T) -> T {
        let began = Instant::now();
        self.refill(began);
        let outcome = wait(self.left.clamp(SHORTEST, LONGEST));
        self.charge(began.elapsed());
        outcome
    }

    fn refill(&mut self, now: Instant) {
        if let Some(at) = self.at.replace(now) {
            let earned = now.saturating_duration_since(at) / SHARE;
            self.left = self.left.saturating_add(earned).min(BURST);
        }
    }

    const fn charge(&mut self, took: Duration) {
        self.left = self.left.saturating_sub(took.saturating_sub(SHORTEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_less_when_many_reads_are_slow() {
        let mut budget = WaitBudget::full();
        let mut limits = Vec::new();
        for _ in 0..4 {
            limits.push(budget.left.clamp(SHORTEST, LONGEST));
            budget.charge(LONGEST);
        }
        assert_eq!(limits[..2], [LONGEST; 2]);
        assert_eq!(limits[3], SHORTEST);
    }

    #[test]
    fn quick_reads_cost_nothing() {
        let mut budget = WaitBudget::full();
        (0..1_000).for_each(|_| budget.charge(SHORTEST));
        assert_eq!(budget.left, BURST);
    }

    #[test]
    fn earns_a_share_of_the_time_that_passes() {
        let now = Instant::now();
        let mut budget = WaitBudget { left: Duration::ZERO, at: Some(now) };
        budget.refill(now + Duration::from_secs(1));
        assert_eq!(budget.left, Duration::from_millis(200));
        budget.refill(now + Duration::from_secs(60));
        assert_eq!(budget.left, BURST);
    }
}
