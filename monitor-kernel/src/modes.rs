//! Permissions of files.

/// Permission of group and others to write.
pub(crate) const SHARED: u32 = 0o022;
