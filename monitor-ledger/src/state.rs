//! The state of a port.

use serde::{Deserialize, Serialize};

/// What goes on at a port; the later one takes precedence.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Nothing was seen.
    #[default]
    Quiet,
    /// Packets came and no socket held the port.
    Probed,
    /// A bind was refused.
    Attempted,
    /// This host talks to that port elsewhere.
    Outbound,
    /// A socket holds it.
    Bound,
    /// A holder answered.
    Served,
}

impl PortState {
    /// Every state, in ascending precedence.
    pub const ALL: [Self; 6] =
        [Self::Quiet, Self::Probed, Self::Attempted, Self::Outbound, Self::Bound, Self::Served];

    /// Name in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Probed => "probed",
            Self::Attempted => "attempted",
            Self::Outbound => "outbound",
            Self::Bound => "bound",
            Self::Served => "served",
        }
    }
}
