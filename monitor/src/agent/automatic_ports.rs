//! Ports that the kernel gives to sockets that name none.

use std::fs;

/// Whether the kernel may give `port` to a socket of this network namespace that is bound to port
/// 0, or sends without a bind.
pub(super) fn include(port: u16) -> bool {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first..=last).contains(&port),
        _ => true,
    }
}
