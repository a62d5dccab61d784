//! Taking ownership of folders and pins that an agent of another user left.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{fs::chown, process::geteuid};

/// Changes the owner of `path` to this user. An agent without CAP_DAC_OVERRIDE can change only what
/// its user owns, even as root.
pub fn take(path: &Path) -> io::Result<()> {
    let owner = fs::metadata(path)?.uid();
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Ok(chown(path, Some(geteuid()), None)?)
}
