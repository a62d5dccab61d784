//! The root of the unified cgroup hierarchy.

use std::{fs::File, path::PathBuf};

use anyhow::{Context as _, Result};

/// Mount point of the unified cgroup hierarchy.
pub fn root() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// Opens the root, which programs are attached to.
pub(crate) fn open_root() -> Result<File> {
    let root = root().context("no cgroup2 filesystem is mounted")?;
    File::open(&root).with_context(|| format!("{}", root.display()))
}
