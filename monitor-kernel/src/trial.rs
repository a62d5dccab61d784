//! A private network namespace for trials.

use std::thread;

use anyhow::{Context as _, Result};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `work` on a thread with a network namespace of its own, which ends with it.
pub fn run<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    // The ring buffers register with the runtime that is current where they are opened.
    let runtime = tokio::runtime::Handle::current();
    thread::scope(|scope| {
        // The table of port indices, 128 KiB, is read by value.
        let worker = thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, || {
            let _entered = runtime.enter();
            // SAFETY: a new network namespace for this thread alone; no descriptor is touched.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .context("a private network namespace to try in takes CAP_SYS_ADMIN")?;
            work()
        })?;
        worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the trial panicked")))
    })
}
