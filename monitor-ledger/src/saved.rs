//! The ledger as it is kept between two agents.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    history::History,
    port::{DormantSince, Port},
};

/// Version of [`Saved`] and [`SavedPort`]. A field may be added without a new one if its absence
/// means what it meant before.
pub const VERSION: u32 = 1;

/// What the ledger knows beside its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) version: u32,
    /// When it was last right: the gap begins here.
    pub(super) wall: Timestamp,
    pub(super) boottime_ns: u64,
    pub(super) boot_id: String,
    pub(super) counters_id: String,
    pub(super) covered_ns: u64,
    pub(super) age_ns: u64,
    pub(super) gap_ns: u64,
    pub(super) looked_covered_ns: u64,
}

/// What the ledger knows of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dormant_since: Option<DormantSince>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<Box<History>>,
}

/// What has changed since the ledger was last saved. All of it is kept, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Replaces what was there.
    pub ledger: Saved,
    /// Ports by number, to be replaced; `None` for those that are to be removed.
    pub ports: Vec<(u16, Option<SavedPort>)>,
}

/// Why a saved ledger cannot be gone on with.
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
