//! Kernel memory of the maps, and memory that the agent returns to the system.

use std::collections::BTreeMap;

/// Makes all threads share one heap; to be called before the first is started. Otherwise every thread
/// of the agent, however short-lived, would keep a heap of its own.
pub fn share_one_heap() {
    // SAFETY: glibc's own function, with one of its parameters.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Kernel memory of the maps that a process holds open, bytes, as charged by the kernel in
/// `/proc/PID/fdinfo`.
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

/// Returns free memory to the system. Parsing the kernel's BTF takes tens of megabytes in small
/// pieces, which the allocator would keep.
pub fn release() {
    // SAFETY: glibc's own function, without arguments that could be wrong.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
