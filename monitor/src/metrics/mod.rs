//! The exposition: the declaration of every metric, and its series, which are made for each scrape.

mod collector;
mod facts;
mod family;
mod format;
mod holders;
mod openmetrics;
mod origins;
mod process;

use std::sync::Arc;

pub use metric_names as names;

pub use self::{
    collector::{MAX_PREINITIALISED_PORTS, render},
    facts::{AgentStatus, BuildInfo, IdentifiedCounts, LedgerFacts},
    format::ExpositionFormat,
    holders::HolderInfo,
    origins::Origins,
    process::ProcessFacts,
};

/// Makes the exposition in a format, in pieces.
pub type Exposition = Arc<dyn Fn(ExpositionFormat) -> anyhow::Result<Vec<String>> + Send + Sync>;
