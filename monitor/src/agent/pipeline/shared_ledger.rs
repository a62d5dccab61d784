//! The ledger, shared with its readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_ledger::Ledger;

/// The ledger. The pipeline writes to it; web server and metrics read it.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// Locks the ledger. A panic while the lock was held leaves the ledger valid.
pub(super) fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
