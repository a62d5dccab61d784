//! Ports and addresses of the measurements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// The addresses of the receiving host: what the frames are sent to.
pub(super) const LOCAL_ADDRESSES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(RECEIVER[0], RECEIVER[1], RECEIVER[2], RECEIVER[3])),
    IpAddr::V6(RECEIVER_IPV6),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

pub(super) const SENDER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const RECEIVER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
