//! An event on its way to the sinks.

use crate::event::Event;

/// An event and the line of JSON that it is: it is written once, for all sinks.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    /// With its line feed.
    pub(super) line: Vec<u8>,
}

impl Told {
    pub(super) fn new(event: Event) -> serde_json::Result<Self> {
        let line = event.to_line()?;
        Ok(Self { event, line })
    }

    /// The event as JSON, without a line feed.
    pub(super) fn json(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }
}
