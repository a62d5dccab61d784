//! Bounded waits for room in a queue.

use std::time::Instant;

use monitor_kernel::wait::wait_until;

/// How one writer waits for one queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// The queue was full for too long, and still is.
    has_ended: bool,
}

impl Patience {
    /// Waits until `has_room`, but not beyond `deadline`. Who has waited in vain does not wait
    /// again before there was room.
    pub fn wait(&mut self, deadline: Instant, has_room: impl Fn() -> bool) {
        let has_room = if self.has_ended { has_room() } else { wait_until(deadline, has_room) };
        self.has_ended = !has_room;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    #[test]
    fn a_queue_that_is_emptied_is_waited_for() {
        let asked = Cell::new(0);
        let has_room = || asked.replace(asked.get() + 1) == 3;
        let deadline = Instant::now() + Duration::from_secs(60);
        Patience::default().wait(deadline, has_room);
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn nobody_waits_in_vain_twice() {
        let mut patience = Patience::default();
        let start = Instant::now();
        patience.wait(start + Duration::from_millis(20), || false);
        assert!(start.elapsed() >= Duration::from_millis(20));
        let later = Instant::now() + Duration::from_secs(60);
        patience.wait(later, || false);
        patience.wait(later, || true);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!patience.has_ended, "there was room: the next one is waited for");
    }
}
