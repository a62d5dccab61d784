//! The state of a port.

use serde::{Deserialize, Serialize};

/// Activity on a port; later variants take precedence.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// No activity.
    #[default]
    Quiet,
    /// Packets arrived and no socket held the port.
    Probed,
    /// A bind was refused.
    Attempted,
    /// This host sent packets to that port on another host.
    Outbound,
    /// A socket holds the port.
    Bound,
    /// A holder answered packets.
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
