//! Removing what lies among the pins and is none.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::process::geteuid;

use crate::modes::SHARED;

/// Removes from a folder of pins what the agent never makes: entries of another type, and those of
/// users other than the agent's and `owner`, the one of the folder above. A folder that others may
/// write to goes as a whole.
///
/// # Errors
///
/// Something cannot be removed.
pub(crate) fn sweep(folder: &Path, owner: Option<u32>, holds_markers: bool) -> io::Result<()> {
    let found = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let is_ours = |found: &Metadata| {
        let user = found.uid();
        user == geteuid().as_raw() || Some(user) == owner
    };
    if !found.is_dir() || !is_ours(&found) || found.mode() & SHARED != 0 {
        return remove(folder, &found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        let has_name = path.file_name().is_some_and(|name| name.to_str().is_some());
        let is_of_type = if holds_markers { found.is_dir() } else { found.is_file() };
        let is_empty = !found.is_dir() || fs::read_dir(&path)?.next().is_none();
        if !(has_name && is_of_type && is_empty && is_ours(&found)) {
            remove(&path, &found)?;
        }
    }
    Ok(())
}

/// Removes something, without following links.
fn remove(path: &Path, found: &Metadata) -> io::Result<()> {
    tracing::warn!(path = %path.display(), "this is no pin of the agent, and is removed");
    if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
