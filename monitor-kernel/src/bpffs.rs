//! The BPF filesystem.

use std::{fs, path::Path};

use rustix::fs::statfs;

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// The names in a folder that are UTF-8, sorted; none where it cannot be read.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whether a BPF filesystem is mounted there.
pub fn is_bpf_filesystem(path: &Path) -> bool {
    statfs(path).is_ok_and(|status| status.f_type as u32 == BPF_FS_MAGIC)
}
