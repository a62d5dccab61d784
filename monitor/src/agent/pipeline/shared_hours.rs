//! The last hour of the ports, shared with its readers.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::{history::Hours, lock::lock};

/// The last hour of the ports. The pipeline writes to it; the web server reads it.
#[derive(Clone, Debug, Default)]
pub struct SharedHours(Arc<Mutex<Hours>>);

impl SharedHours {
    /// Locks it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Hours> {
        lock(&self.0)
    }
}
