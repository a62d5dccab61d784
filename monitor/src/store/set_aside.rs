//! Damaged databases are renamed, and a few of them kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{database::beside, error::StoreError};

/// Damaged databases that are kept. Older ones are removed.
const KEPT_ASIDE: usize = 3;

/// Renames a damaged database with its log: a repair needs both.
pub(super) fn set_aside(path: &Path, error: &StoreError) -> io::Result<()> {
    let aside =
        beside(path, &format!(".corrupt-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%fZ")));
    fs::rename(path, &aside)?;
    // Either may be missing.
    let _ = fs::rename(beside(path, "-wal"), beside(&aside, "-wal"));
    let _ = fs::remove_file(beside(path, "-shm"));
    tracing::error!(
        "{} is corrupted ({error}): it is set aside as {}, and a new store is created",
        path.display(),
        aside.display(),
    );
    remove_older_than_newest(path)
}

/// A disk that corrupts one database after the other must not fill up with them.
fn remove_older_than_newest(path: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let mut aside: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            file.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with(&prefix) && !name.ends_with("-wal")
            })
        })
        .collect();
    // Their names end with the time.
    aside.sort();
    for file in aside.iter().rev().skip(KEPT_ASIDE) {
        fs::remove_file(file)?;
        let _ = fs::remove_file(beside(file, "-wal"));
    }
    Ok(())
}
