//! Counts of lost events.

/// Events that did not reach the store or a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLosses {
    /// Events that found a queue before the store and the sinks full.
    pub queue: u64,
    /// Events that the store or a sink could not take, counted for each of them.
    pub sink: u64,
}
