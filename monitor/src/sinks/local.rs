//! Sinks on this host. A write that fails is not tried again.

use std::io;

use super::queue::{Queue, Work};
use crate::event::EncodedEvent;

/// A sink that takes one event after the other.
pub(super) trait Local: Send {
    /// Writes an event. An error means that it is lost.
    fn write(&mut self, encoded: &EncodedEvent) -> io::Result<()>;

    /// Opens its target again.
    fn reopen(&mut self) {}
}

/// Writes the events of `queue` until it is closed.
pub(super) async fn work(mut sink: Box<dyn Local>, queue: &Queue) {
    loop {
        match queue.next(1).await {
            Work::Reopen => sink.reopen(),
            Work::End => return,
            Work::Events(events) => {
                for encoded in events {
                    match sink.write(&encoded) {
                        Ok(()) => queue.delivered(1),
                        Err(error) => queue.lost(1, error),
                    }
                }
            }
        }
    }
}
