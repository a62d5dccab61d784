//! Facts about a port, for metrics and the API.

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use crate::{awakenings::Awakenings, by_protocol::ByProtocol, state::PortState, transition::Cause};

/// Facts about a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Its state.
    pub state: PortState,
    /// Start of dormancy; `None` if the port is active.
    pub dormant_since: Option<Timestamp>,
    pub(super) last_packet: ByProtocol<Option<Timestamp>>,
    pub(super) last_bind: ByProtocol<Option<Timestamp>>,
    pub(super) bound_sockets: ByProtocol<u32>,
    pub(super) unexpected_sockets: ByProtocol<u32>,
    pub(super) awakenings: Awakenings,
    pub(super) unexpected_binds: ByProtocol<u64>,
    pub(super) answers_without_socket: ByProtocol<u64>,
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
            || last_packet.iter().chain(last_bind.iter()).any(Option::is_some)
            || bound_sockets.iter().any(|count| *count > 0)
            || self.awakenings != Awakenings::default()
    }

    /// Time of the reading that found the last packet, in either direction.
    pub const fn last_packet(&self, protocol: Protocol) -> Option<Timestamp> {
        self.last_packet.get(protocol)
    }

    /// Time of the last successful bind.
    pub const fn last_bind(&self, protocol: Protocol) -> Option<Timestamp> {
        self.last_bind.get(protocol)
    }

    /// Sockets that hold the port.
    pub const fn bound_sockets(&self, protocol: Protocol) -> u32 {
        self.bound_sockets.get(protocol)
    }

    /// Sockets that hold the port and whose owner is not known to be one that the configuration
    /// expects.
    pub const fn unexpected_sockets(&self, protocol: Protocol) -> u32 {
        self.unexpected_sockets.get(protocol)
    }

    /// Number of awakenings by this cause: of those whose cause was an expected owner, or of all
    /// others.
    pub const fn awakenings(&self, cause: Cause, expected: bool) -> u64 {
        self.awakenings.get(cause, expected)
    }

    /// Whether sockets hold the port, and all of them are known to be of expected owners.
    pub fn is_held_by_expected_owners_alone(&self) -> bool {
        let is_held = self.bound_sockets.iter().any(|count| *count > 0);
        is_held && self.unexpected_sockets.iter().all(|count| *count == 0)
    }

    /// Whether the port ever had packets or sockets of a protocol. A rare protocol has series from then
    /// on.
    pub fn has_seen(&self, protocol: Protocol) -> bool {
        self.last_packet(protocol).is_some()
            || self.last_bind(protocol).is_some()
            || self.bound_sockets(protocol) > 0
            || self.unexpected_binds(protocol) > 0
    }

    /// Binds by callers that the configuration does not expect.
    pub const fn unexpected_binds(&self, protocol: Protocol) -> u64 {
        self.unexpected_binds.get(protocol)
    }

    /// Connections accepted and datagrams sent in answer, from an address of this host, that no
    /// socket of this host explains.
    pub const fn answers_without_socket(&self, protocol: Protocol) -> u64 {
        self.answers_without_socket.get(protocol)
    }
}
