//! What a person reads: the log, error messages, escaped and wrapped text, tables, rows of events.

pub(crate) mod escape;
pub(crate) mod event_table;
pub(crate) mod listener_table;
pub mod logging;
pub mod message;
pub mod output;
pub(crate) mod page;
pub(crate) mod plural;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod tone;
pub(crate) mod width;
pub(crate) mod wrap;
