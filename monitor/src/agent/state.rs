//! The running agent: what its loop, reload and shutdown work on.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use monitor_kernel::{Kernel, interfaces::Interfaces};
use tokio::sync::watch;

use super::{capture_looks::Noticed, pipeline::Pipeline, service_manager::ServiceManager};
use crate::{
    config::{Config, Overrides},
    event::EventContext,
    metrics::AgentStatus,
    sinks::EventQueue,
    store::StoreQueue,
    web::Security,
};

/// A running agent.
pub(super) struct Agent {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) pipeline: Pipeline,
    /// The configuration in force; the socket scanner and the API follow it.
    pub(super) config: watch::Sender<Arc<Config>>,
    /// The configuration file; `None` for the default one.
    pub(super) config_path: Option<PathBuf>,
    pub(super) overrides: Overrides,
    pub(super) interfaces: Interfaces,
    pub(super) sinks: EventQueue,
    pub(super) store: StoreQueue,
    /// TLS and passwords of the web server, if it has any.
    pub(super) security: Option<Arc<Security>>,
    pub(super) status: Arc<Mutex<AgentStatus>>,
    /// Patterns of `interfaces.include` that matched no interface in the last list.
    pub(super) unmatched_patterns: Vec<String>,
    pub(super) context: EventContext,
    /// Whether every hook has been tried: `/readyz`.
    pub(super) ready: Arc<AtomicBool>,
    /// Whether hooks were detached behind the agent and are not attached again.
    pub(super) hooks_lost: Arc<AtomicBool>,
    /// Whether the log has it that the pipeline is stuck.
    pub(super) has_stalled: bool,
    pub(super) manager: ServiceManager,
    /// Threads that may have begun to capture packets.
    pub(super) noticed: Arc<Noticed>,
}

impl Agent {
    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }
}
