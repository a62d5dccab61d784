//! The hooks of the agent.

use monitor_kernel::hooks::HookStatus;
use serde::{Deserialize, Serialize};

/// The answer of `/api/v1/hooks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hooks {
    /// Every hook, on each interface.
    pub hooks: Vec<HookStatus>,
    /// Why this host's addresses could not be read, by which packets have their sides; absent if they
    /// are known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub addresses_error: Option<String>,
}
