//! The saved form of the ledger.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    history::History,
    listeners::{self, SavedBaseline},
    port::{DormantSince, Port},
};

/// Version of [`Saved`] and [`SavedPort`]. A new field needs no new version if its absence keeps
/// the old meaning.
pub const VERSION: u32 = 1;

/// The ledger without its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) version: u32,
    /// Time of the last reading: the gap starts here.
    pub(super) wall: Timestamp,
    pub(super) boottime_ns: u64,
    pub(super) boot_id: String,
    pub(super) counters_id: String,
    pub(super) covered_ns: u64,
    pub(super) age_ns: u64,
    pub(super) gap_ns: u64,
    #[serde(rename = "looked_covered_ns")]
    pub(super) scanned_covered_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) listeners: Option<SavedBaseline>,
}

/// A port of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dormant_since: Option<DormantSince>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<Box<History>>,
}

/// Changes since the last save. The store has to apply all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Replaces the saved ledger.
    pub ledger: Saved,
    /// Ports to replace, by number; `None` for ports to delete.
    pub ports: Vec<(u16, Option<SavedPort>)>,
    /// Entries of the baseline of listeners to replace, by their ids; `None` for entries to delete.
    pub listeners: Vec<(u32, Option<listeners::Entry>)>,
}

/// A ledger was saved in a version that this agent does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger was saved in version {0} of its format, and this agent knows version {VERSION}"
)]
pub struct RestoreError(pub u32);

impl From<&Port> for SavedPort {
    fn from(port: &Port) -> Self {
        Self { dormant_since: port.dormant_since, history: port.history.clone() }
    }
}

impl From<SavedPort> for Port {
    fn from(saved: SavedPort) -> Self {
        let SavedPort { dormant_since, history } = saved;
        Self { dormant_after_ns: 0, has_owners: false, dormant_since, history }
    }
}
