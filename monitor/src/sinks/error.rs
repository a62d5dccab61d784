//! Errors of sinks.

use std::io;

/// A sink that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot write events to {sink}: {source}")]
pub struct SinkError {
    pub(super) sink: String,
    pub(super) source: io::Error,
}
