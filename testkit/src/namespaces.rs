//! What a thread has for itself.

use std::thread::{self, JoinHandle};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves this thread to a new network namespace.
pub fn enter_new_network() {
    enter_new(UnshareFlags::NEWNET);
}

/// Moves this thread to a new network namespace and a new mount namespace, whose mounts are still
/// shared with the old one's.
pub fn enter_new_network_and_mounts() {
    enter_new(UnshareFlags::NEWNET | UnshareFlags::NEWNS);
}

fn enter_new(namespaces: UnshareFlags) {
    // SAFETY: the descriptor table stays shared; only namespaces (and, with a mount namespace, the
    // working directory and root) become this thread's own.
    unsafe { unshare_unsafe(namespaces) }.expect("namespaces");
}

/// Moves a process that has one thread, as one of [`super::child::forked`] does, to a new user
/// namespace. Returns whether that is possible here.
pub fn enter_new_users() -> bool {
    // SAFETY: the descriptor table stays as it is.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.is_ok()
}

/// Spawns a thread with a descriptor table of its own: the process does not have what it opens.
pub fn spawn_with_own_descriptors(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::spawn(|| {
        // SAFETY: what `work` was given has the same number in the copied table; what it opens ends
        // with it, because it returns nothing.
        unsafe { unshare_unsafe(UnshareFlags::FILES) }.expect("a table");
        work();
    })
}
