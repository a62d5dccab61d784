//! Taking ownership of folders and pins that an agent of another user left.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{
    fs::{AtFlags, CWD, chownat},
    process::geteuid,
};

/// Changes the owner of `path`, which is not followed, to this user. An agent without CAP_DAC_OVERRIDE
/// can change only what its user owns, even as root.
pub fn take(path: &Path) -> io::Result<()> {
    let owner = fs::symlink_metadata(path)?.uid();
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Ok(chownat(CWD, path, Some(geteuid()), None, AtFlags::SYMLINK_NOFOLLOW)?)
}
