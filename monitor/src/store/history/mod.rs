//! The history by day, in a database of its own beside that of the events: a flood of events takes no room
//! from it, and damage to one leaves the other.

mod database;
mod keeper;
mod path;
mod reader;

pub(super) use self::keeper::HistoryKeeper;
pub use self::{
    database::KeptHistory,
    path::history_path,
    reader::{HistoryReader, Period},
};
