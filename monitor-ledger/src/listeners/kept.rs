//! An entry as the baseline keeps it: with what is not reported yet, and what is to be saved of it.

use std::collections::BTreeSet;

use super::{
    entry::{Entry, EntryKey},
    ports::{KnownPorts, PortRecord},
};

/// An entry in memory.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    pub(super) key: EntryKey,
    /// Ports whose news were not reported yet.
    unreported: BTreeSet<u16>,
    /// The ports before the unreported ones were added. Only these are saved, so that an agent that is
    /// killed before it reports finds the others again.
    reported: Option<KnownPorts>,
}

impl Kept {
    /// An entry that was reported, or that is no news.
    pub(super) const fn new(entry: Entry, key: EntryKey) -> Self {
        Self { entry, key, unreported: BTreeSet::new(), reported: None }
    }

    /// Adds a port whose news are about to be reported.
    pub(super) fn add_unreported(&mut self, port: u16, record: PortRecord, is_automatic: bool) {
        self.reported.get_or_insert_with(|| self.entry.ports.clone());
        self.unreported.insert(port);
        self.entry.ports.add(port, record, is_automatic);
    }

    /// All its news were reported.
    pub(super) fn set_reported(&mut self) {
        self.unreported.clear();
        self.reported = None;
    }

    /// Whether some of its news were not reported yet.
    pub(super) fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// Whether the news of `port` were not reported yet.
    pub(super) fn is_unreported(&self, port: u16) -> bool {
        self.unreported.contains(&port)
    }

    /// The entry as it is to be saved; `None` if nothing of it was reported.
    pub(super) fn to_save(&self) -> Option<Entry> {
        match &self.reported {
            None => Some(self.entry.clone()),
            Some(ports) if ports.is_empty() => None,
            Some(ports) => {
                let mut entry = self.entry.clone();
                entry.ports.clone_from(ports);
                Some(entry)
            }
        }
    }

    /// Forgets a port that it has as a single one.
    pub(super) fn forget_port(&mut self, port: u16) {
        for ports in self.all_ports() {
            ports.single.remove(&port);
        }
    }

    /// Forgets its ranges.
    pub(super) fn forget_ranges(&mut self) {
        for ports in self.all_ports() {
            ports.range = None;
            ports.is_automatic = false;
        }
    }

    fn all_ports(&mut self) -> impl Iterator<Item = &mut KnownPorts> {
        std::iter::once(&mut self.entry.ports).chain(self.reported.as_mut())
    }
}
