//! The last hour of one port.

use std::collections::VecDeque;

use monitor_ledger::PortState;

use super::bucket::{Bucket, Growth};

/// Seconds that are kept one by one, at least.
pub(super) const SECONDS: usize = 300;

/// Seconds of a coarse step. So many seconds are joined at once when they are no longer kept one by
/// one.
pub(super) const STEP: usize = 10;

/// Coarse steps that are kept: with the seconds they make an hour.
pub(super) const STEPS: usize = (3600 - SECONDS) / STEP;

/// Counts that arrive after more seconds than this are those of the last ones of them.
const MAX_SPREAD: u64 = 60;

/// Largest size of a port's hour.
pub(super) const MAX_BYTES: usize =
    size_of::<Ring>() + (SECONDS + STEP + STEPS) * size_of::<Bucket>();
const _: () = assert!(5 * MAX_BYTES < 256 << 10, "five ports take less than 256 KiB");

/// How many steps of both kinds every ring has: all are advanced together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) seconds: usize,
    pub(super) steps: usize,
}

impl Shape {
    /// One second later.
    pub(super) fn advance(&mut self) {
        self.seconds += 1;
        if self.seconds == SECONDS + STEP {
            self.seconds = SECONDS;
            self.steps = (self.steps + 1).min(STEPS);
        }
    }
}

/// The last hour of one port; the newest step of each kind is the last.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    pub(super) seconds: VecDeque<Bucket>,
    pub(super) steps: VecDeque<Bucket>,
    /// The state at the last reading.
    state: PortState,
}

impl Ring {
    /// A port on which nothing has happened.
    pub(super) fn idle(shape: Shape) -> Self {
        let mut ring = Self {
            seconds: VecDeque::with_capacity(SECONDS + STEP),
            steps: VecDeque::with_capacity(STEPS),
            state: PortState::Quiet,
        };
        ring.seconds.resize(shape.seconds, Bucket::default());
        ring.steps.resize(shape.steps, Bucket::default());
        ring
    }

    /// What grew in the last `elapsed` seconds, at whose end the port is in `state`. With 0, it belongs
    /// to the second that is already there.
    pub(super) fn advance(&mut self, elapsed: u64, growth: &Growth, state: PortState) {
        if elapsed == 0
            && let Some(last) = self.seconds.back_mut()
        {
            last.add(growth);
            last.state = last.state.max(state);
        }
        let parts = elapsed.min(MAX_SPREAD);
        for left in (0..elapsed).rev() {
            let is_last = left == 0;
            let mut bucket = Bucket::of_state(if is_last { state } else { self.state });
            if left < parts {
                bucket.add(&growth.part(parts, is_last));
            }
            self.push(bucket);
        }
        self.state = state;
    }

    fn push(&mut self, bucket: Bucket) {
        self.seconds.push_back(bucket);
        if self.seconds.len() < SECONDS + STEP {
            return;
        }
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        let joined = self.seconds.drain(..STEP).fold(Bucket::default(), |a, b| a.joined(&b));
        self.steps.push_back(joined);
    }

    /// Whether nothing happened within the hour.
    pub(super) fn is_idle(&self) -> bool {
        self.seconds.iter().chain(&self.steps).all(Bucket::is_idle)
    }
}
