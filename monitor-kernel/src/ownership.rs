//! Folders and pins that an agent of another user left.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{fs::chown, process::geteuid};

/// Makes what is at `path` this user's, if it is another's. An agent that has given up its
/// capabilities can change what is its own alone, even as root.
pub fn take(path: &Path) -> io::Result<()> {
    let owner = fs::metadata(path)?.uid();
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Ok(chown(path, Some(geteuid()), None)?)
}
