//! The hooks of the agent.

use monitor_kernel::hooks::HookStatus;
use serde::{Deserialize, Serialize};

/// The answer of `/api/v1/hooks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hooks {
    /// Every hook, on each interface.
    pub hooks: Vec<HookStatus>,
}
