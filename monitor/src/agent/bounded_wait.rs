//! Bounded waits for room in a queue.

use std::time::Instant;

use monitor_kernel::wait::wait_until;

/// How one writer waits for room in one queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoundedWait {
    /// The last wait ended without room.
    timed_out: bool,
}

impl BoundedWait {
    /// Waits until `has_room` returns `true`, at most until `deadline`.
    ///
    /// After a wait that ended without room, this does not wait until there was room again: a queue
    /// that is stuck delays its writer once.
    pub fn wait(&mut self, deadline: Instant, has_room: impl Fn() -> bool) {
        let has_room = if self.timed_out { has_room() } else { wait_until(deadline, has_room) };
        self.timed_out = !has_room;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    #[test]
    fn waits_for_room() {
        let asked = Cell::new(0);
        let has_room = || asked.replace(asked.get() + 1) == 3;
        let deadline = Instant::now() + Duration::from_secs(60);
        BoundedWait::default().wait(deadline, has_room);
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn a_stuck_queue_delays_its_writer_once() {
        let mut wait = BoundedWait::default();
        let start = Instant::now();
        wait.wait(start + Duration::from_millis(20), || false);
        assert!(start.elapsed() >= Duration::from_millis(20));
        let later = Instant::now() + Duration::from_secs(60);
        wait.wait(later, || false);
        wait.wait(later, || true);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!wait.timed_out, "there was room, so the next wait is a wait again");
    }
}
