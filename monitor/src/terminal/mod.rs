//! What a person reads: the log, error messages, escaped and wrapped text, rows of events.

pub(crate) mod escape;
pub(crate) mod event_table;
pub mod logging;
pub mod message;
pub mod output;
pub(crate) mod page;
pub(crate) mod width;
pub(crate) mod wrap;
