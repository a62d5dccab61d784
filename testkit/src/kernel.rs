//! The kernel that the tests run on.

use std::{fs, path::PathBuf};

/// Where this thread's mount namespace has the unified hierarchy of control groups.
pub fn unified_hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    Some(mounts.find(|fields| fields[2] == "cgroup2")?[1].into())
}

/// Whether this kernel's version is at least that.
pub fn is_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}
