//! The exposition: the declaration of every metric, and its series, which are made for each scrape.

mod collector;
mod facts;
mod family;
mod holders;
mod process;

use std::sync::Arc;

pub use metric_names as names;

pub use self::{
    collector::{MAX_PREINITIALISED_PORTS, render},
    facts::{AgentStatus, BuildInfo, IdentifiedCounts, LedgerFacts},
    holders::HolderInfo,
    process::ProcessFacts,
};

/// Makes the exposition as text, in pieces.
pub type Exposition = Arc<dyn Fn() -> anyhow::Result<Vec<String>> + Send + Sync>;
