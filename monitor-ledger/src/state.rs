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
    /// Packets on their way between other hosts passed through this one.
    Transit,
    /// Packets arrived and no socket held the port.
    Probed,
    /// A bind was refused.
    Attempted,
    /// This host began a conversation with that port on another host.
    Outbound,
    /// A socket holds the port.
    Bound,
    /// Packets were answered from an address of this host, and no socket of this host holds the port.
    Answered,
    /// A holder answered packets.
    Served,
}

impl PortState {
    /// Every state, in ascending precedence.
    pub const ALL: [Self; 8] = [
        Self::Quiet,
        Self::Transit,
        Self::Probed,
        Self::Attempted,
        Self::Outbound,
        Self::Bound,
        Self::Answered,
        Self::Served,
    ];

    /// Name in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Transit => "transit",
            Self::Probed => "probed",
            Self::Attempted => "attempted",
            Self::Outbound => "outbound",
            Self::Bound => "bound",
            Self::Answered => "answered",
            Self::Served => "served",
        }
    }
}
