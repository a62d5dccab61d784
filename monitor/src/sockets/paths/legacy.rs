//! Tables of the older iptables, whose rules are not read.

use std::fs;

/// Whether the calling thread's network namespace has rules that may lead packets elsewhere, and
/// that [`super::find()`] does not read. Connections that they translate are found all the same.
pub fn has_unread_rules() -> bool {
    let has_nat = |name| {
        let tables = fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        tables.unwrap_or_default().lines().any(|table| table == "nat")
    };
    ["ip_tables_names", "ip6_tables_names"].into_iter().any(has_nat)
}
