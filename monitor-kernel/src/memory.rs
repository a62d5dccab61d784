//! Memory: what the maps take in the kernel, and what the agent gives back.

use std::collections::BTreeMap;

/// Makes all threads share one heap, before there are any: the few threads that the agent has for
/// a moment would each keep one of their own.
pub fn share_one_heap() {
    // SAFETY: glibc's own function, with one of its parameters.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Kernel memory of the maps that a process holds open, bytes: what the kernel itself charges,
/// from `/proc/PID/fdinfo`.
pub fn of_maps(pid: u32) -> std::io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.values().sum())
}

/// Gives memory that only starting took back to the system: the kernel's type information makes
/// for tens of megabytes in small pieces, which the allocator keeps.
pub fn release() {
    // SAFETY: glibc's own function, without arguments that could be wrong.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
