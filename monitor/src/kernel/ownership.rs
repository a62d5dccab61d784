//! Folders that an agent of another user left.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{fs::chown, process::geteuid};

/// Makes a folder this user's, if it is another's. An agent that has given up its capabilities can
/// change what is in its own folders alone, even as root.
pub fn take(folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?.uid();
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Ok(chown(folder, Some(geteuid()), None)?)
}
