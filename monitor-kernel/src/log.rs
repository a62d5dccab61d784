//! Diagnostics of the kernel side, for the agent's log.

use std::io;

use anyhow::{Context as _, Result};
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

use super::readable::readable;

/// The ring buffer of diagnostics.
pub struct KernelLog {
    ring: AsyncFd<EbpfLogger<&'static dyn ::log::Log>>,
}

impl KernelLog {
    /// Takes the ring buffer of a loaded object.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        let logger = EbpfLogger::init(object).context("cannot read the kernel side's log")?;
        Ok(Self { ring: readable(logger)? })
    }

    /// Waits for diagnostics and logs them.
    pub async fn forward(&mut self) -> io::Result<()> {
        let mut guard = self.ring.readable_mut().await?;
        guard.get_inner_mut().flush();
        guard.clear_ready();
        Ok(())
    }
}

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelLog").finish_non_exhaustive()
    }
}
