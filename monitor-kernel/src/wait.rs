//! Bounded waits.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Time between two looks: what is waited for takes longer.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until it is so, but not beyond `deadline`; whether it is.
pub fn wait_until(deadline: Instant, is_so: impl Fn() -> bool) -> bool {
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}
