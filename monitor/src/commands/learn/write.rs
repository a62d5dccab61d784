//! Merges entries into a configuration file: all of them or none, whatever happens meanwhile.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::fs::{Gid, Uid, fchown};

use crate::config::{self, Additions};

/// Adds what the file lacks. Returns how many entries that were.
pub(super) fn merge_into(path: &Path, additions: &Additions) -> Result<usize> {
    // The file that a link leads to is replaced, and not the link.
    let path = fs::canonicalize(path)?;
    let text = String::from_utf8(config::read_file(&path)?).context("it is no text in UTF-8")?;
    let merged = config::merge(&path, &text, additions)?;
    if merged.added > 0 {
        replace(&path, &merged.text)?;
    }
    Ok(merged.added)
}

/// Replaces the file by another one with the same owner and mode.
fn replace(path: &Path, text: &str) -> Result<()> {
    let old = fs::metadata(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.ghostport-{}", std::process::id()));
    let written = write_new(&beside, text, &old).and_then(|()| Ok(fs::rename(&beside, path)?));
    if written.is_err() {
        // It may not have been created.
        let _ = fs::remove_file(&beside);
    }
    written?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write_new(beside: &Path, text: &str, old: &fs::Metadata) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    let (user, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
    fchown(file.as_fd(), Some(user), Some(group))?;
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    Ok(file.sync_all()?)
}
