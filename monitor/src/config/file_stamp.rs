//! Metadata by which a change of a file is noticed.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// What changes with a file: device, inode, modification time and size. Two of no file are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp(Option<(u64, u64, i64, i64, u64)>);

impl FileStamp {
    /// The stamp of the file at `path` now.
    pub fn of(path: &Path) -> Self {
        let stamp = |metadata: fs::Metadata| {
            let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
            (metadata.dev(), metadata.ino(), seconds, nanoseconds, metadata.len())
        };
        Self(fs::metadata(path).ok().map(stamp))
    }
}
