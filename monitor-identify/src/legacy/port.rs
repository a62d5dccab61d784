//! Registered ports that count as evidence.

/// WTP without WTLS; a port of gateways.
pub(super) const WTP: u16 = 9201;
/// Connectionless pushes; a port of handsets.
pub(super) const PUSH: u16 = 2948;
