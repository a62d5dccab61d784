//! What a person reads: the log, error messages, wrapped text, rows of events.

pub(crate) mod event_table;
pub mod logging;
pub mod message;
pub mod output;
pub(crate) mod wrap;
