//! The history by day, in a database of its own beside that of the events: a flood of events takes no room
//! from it, and damage to one leaves the other.

mod database;
mod keeper;
mod reader;

use std::path::{Path, PathBuf};

pub(super) use self::{database::HistoryDatabase, keeper::HistoryKeeper};
pub use self::{
    database::KeptHistory,
    reader::{HistoryReader, Period},
};

/// The path of the history beside the store at `store`: `ghostport-history.db` beside `ghostport.db`.
pub fn history_path(store: &Path) -> PathBuf {
    let mut name = store.file_stem().unwrap_or_default().to_owned();
    name.push("-history");
    if let Some(extension) = store.extension() {
        name.push(".");
        name.push(extension);
    }
    store.with_file_name(name)
}
