//! What a person reads: the log, messages and text in columns.

pub mod logging;
pub mod message;
pub mod wrap;
