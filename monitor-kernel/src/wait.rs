//! Bounded waits.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Time between two checks; shorter than the waits.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until the condition holds, at most until `deadline`. Returns whether it holds.
pub fn wait_until(deadline: Instant, condition: impl Fn() -> bool) -> bool {
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}
