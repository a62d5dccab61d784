//! Pauses between attempts. Pure, except for [`jitter`].

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double from a tenth of a second to half a minute.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next pause: one half, plus the share `jitter` of the other half, so that agents that lost
    /// the same receiver do not return to it at the same time.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.5 + jitter / 2.0)
    }

    /// Whether no attempt has failed yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.attempts == 0
    }
}

/// A random number from 0 to 1.
pub(super) fn jitter() -> f64 {
    // The standard library gives every hasher a random key. Nothing secret depends on it.
    let random = RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..40).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(pauses[39], 30_000);
        assert_eq!(Backoff::default().next(0.0).as_millis(), 50);
    }

    #[test]
    fn jitter_differs() {
        let jitters: Vec<f64> = (0..20).map(|_| jitter()).collect();
        assert!(jitters.iter().all(|jitter| (0.0..=1.0).contains(jitter)));
        assert!(jitters.iter().any(|jitter| *jitter != jitters[0]));
    }
}
