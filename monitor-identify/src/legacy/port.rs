//! Registered ports that count as evidence.

/// WTP without WTLS; a port of gateways.
pub(super) const WTP: u16 = 9201;
/// WTLS with pushes, with connectionless WSP, and with WTP.
pub(super) const WTLS: [u16; 3] = [2949, 9202, 9203];
/// Connectionless pushes; a port of handsets.
pub(super) const PUSH: u16 = 2948;
