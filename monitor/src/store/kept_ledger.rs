//! The ledger as the store has it.

use monitor_ledger::{Ledger, RestoreError, Saved, SavedPort, Start, listeners::Entry};

/// The ledger as it was last saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLedger {
    /// What it is beside the rest.
    pub ledger: Saved,
    /// Its ports.
    pub ports: Vec<(u16, SavedPort)>,
    /// Its baseline of listeners.
    pub listeners: Vec<(u32, Entry)>,
}

impl KeptLedger {
    /// The ledger, which continues at `start`.
    ///
    /// # Errors
    ///
    /// Fails if it was saved in another version of its format.
    pub fn restore(self, start: Start) -> Result<Ledger, RestoreError> {
        let Self { ledger: saved, ports, listeners } = self;
        let mut ledger = Ledger::restore(&saved, ports, start)?;
        ledger.restore_listeners(&saved, listeners);
        Ok(ledger)
    }
}
