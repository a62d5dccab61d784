//! Access to tracefs, which has the ids of the tracepoints.

use std::{path::Path, thread};

use rustix::{
    fs::statfs,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

/// The usual mount point.
pub const MOUNT_POINT: &str = "/sys/kernel/tracing";

/// `TRACEFS_MAGIC`, `include/uapi/linux/magic.h`.
const TRACEFS_MAGIC: u32 = 0x7472_6163;

/// Whether tracefs is mounted at a usual place.
pub fn is_mounted() -> bool {
    [MOUNT_POINT, "/sys/kernel/debug/tracing"]
        .iter()
        .any(|path| statfs(*path).is_ok_and(|status| status.f_type as u32 == TRACEFS_MAGIC))
}

/// Runs `work` where tracefs is mounted. If the host has not mounted it, `work` runs on a thread with a
/// mount namespace of its own, in which it is mounted; the host does not see that mount.
pub fn with<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    if is_mounted() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            mount_privately()?;
            Ok(work())
        });
        worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the tracefs thread panicked")))
    })
}

fn mount_privately() -> anyhow::Result<()> {
    use anyhow::Context as _;
    if !Path::new(MOUNT_POINT).is_dir() {
        anyhow::bail!("this kernel has no tracefs");
    }
    // SAFETY: a new mount namespace (and with it, unshared working directory and root) for this
    // thread alone; no descriptor or memory is touched.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .context("tracefs is not mounted, and a private mount takes CAP_SYS_ADMIN")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tracefs", MOUNT_POINT, "tracefs", flags, None).context("tracefs cannot be mounted")
}
