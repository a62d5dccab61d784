//! Facts about a port, for metrics and the API.

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use crate::{state::PortState, transition::Cause};

/// Facts about a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Its state.
    pub state: PortState,
    /// Start of dormancy; `None` if the port is active.
    pub dormant_since: Option<Timestamp>,
    pub(super) last_packet: [Option<Timestamp>; 2],
    pub(super) last_bind: [Option<Timestamp>; 2],
    pub(super) bound_sockets: [u32; 2],
    pub(super) awakenings: [u64; 2],
    pub(super) unexpected_binds: [u64; 2],
    pub(super) answers_without_socket: [u64; 2],
}

impl PortFacts {
    /// Whether the port is dormant.
    pub const fn is_dormant(&self) -> bool {
        self.dormant_since.is_some()
    }

    /// Whether the port ever had activity, or has a holder.
    pub fn has_history(&self) -> bool {
        let Self { state, dormant_since: _, last_packet, last_bind, bound_sockets, .. } = self;
        *state != PortState::Quiet
            || last_packet.iter().chain(last_bind).any(Option::is_some)
            || bound_sockets.iter().any(|count| *count > 0)
            || self.awakenings.iter().any(|count| *count > 0)
    }

    /// Time of the reading that found the last packet, in either direction.
    pub const fn last_packet(&self, protocol: Protocol) -> Option<Timestamp> {
        self.last_packet[protocol as usize]
    }

    /// Time of the last successful bind.
    pub const fn last_bind(&self, protocol: Protocol) -> Option<Timestamp> {
        self.last_bind[protocol as usize]
    }

    /// Sockets that hold the port.
    pub const fn bound_sockets(&self, protocol: Protocol) -> u32 {
        self.bound_sockets[protocol as usize]
    }

    /// Number of awakenings by this cause.
    pub const fn awakenings(&self, cause: Cause) -> u64 {
        self.awakenings[cause as usize]
    }

    /// Binds by callers that the configuration does not expect.
    pub const fn unexpected_binds(&self, protocol: Protocol) -> u64 {
        self.unexpected_binds[protocol as usize]
    }

    /// Connections accepted and datagrams sent in answer, from an address of this host, that no
    /// socket of this host explains.
    pub const fn answers_without_socket(&self, protocol: Protocol) -> u64 {
        self.answers_without_socket[protocol as usize]
    }
}
