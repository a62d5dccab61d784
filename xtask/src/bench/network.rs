//! Ports and addresses of the measurements.

/// The ports that are watched by default.
pub(super) const FIVE_PORTS: [u16; 5] = [2923, 2948, 2949, 3716, 3717];
/// One of them.
pub(super) const WATCHED: u16 = 2948;
/// A port that is never watched: a configuration cannot name it.
pub(super) const UNWATCHED: u16 = 0;

pub(super) const SENDER: [u8; 4] = [198, 18, 0, 1];
pub(super) const RECEIVER: [u8; 4] = [198, 18, 0, 2];
pub(super) const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const RECEIVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
