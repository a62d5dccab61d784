//! What the agent is started with.

use std::path::PathBuf;

use crate::{config::Overrides, metrics::BuildInfo, terminal::logging::LogLevel};

/// What the agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file; `None` for the default one, which may be absent.
    pub config_path: Option<PathBuf>,
    /// What goes before the configuration file, also when that is read again.
    pub overrides: Overrides,
    /// Whether the hooks stay attached when the agent stops.
    pub keep_attached: bool,
    /// How much is logged; the kernel side follows it.
    pub log_level: LogLevel,
    /// What is running.
    pub build: BuildInfo,
}
