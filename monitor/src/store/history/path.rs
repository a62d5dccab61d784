//! Where the history is.

use std::path::{Path, PathBuf};

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
