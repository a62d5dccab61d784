//! Ports that the kernel gives to sockets that name none.

use std::{fs, ops::RangeInclusive};

/// The kernel's default.
const DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

/// The ports that the kernel may give to a socket of this network namespace that is bound to port 0,
/// or sends without a bind.
pub fn range() -> RangeInclusive<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => DEFAULT,
    }
}
