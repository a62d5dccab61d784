//! The last hour of the ports, shared with its readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::Hours;

/// The last hour of the ports. The pipeline writes to it; the web server reads it.
#[derive(Clone, Debug, Default)]
pub struct SharedHours(Arc<Mutex<Hours>>);

impl SharedHours {
    /// Locks it. A panic while the lock was held leaves it usable.
    pub(super) fn lock(&self) -> MutexGuard<'_, Hours> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
