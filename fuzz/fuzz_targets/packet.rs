//! The packet parser: it never panics, stays inside the packet, and its two ways agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor_common::packet::{Parsed, ethertype, parse_ethernet, parse_ip, parse_plain};

/// Bytes of the two ports, which every segment has.
const PORTS: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse_ethernet(bytes);
    check(&parsed, bytes);
    if let Some(segment) = parse_plain(bytes) {
        assert_eq!(Some(&segment), parsed.segment(), "the two parsers differ");
    }
    for ethertype in [ethertype::IPV4, ethertype::IPV6] {
        check(&parse_ip(bytes, ethertype), bytes);
    }
});

fn check(parsed: &Parsed, bytes: &[u8]) {
    let Some(segment) = parsed.segment() else { return };
    assert!(parsed.unclassified().is_none(), "a segment is classified");
    assert!(segment.network <= segment.offset, "the IP header comes first");
    assert!(segment.offset as usize + PORTS <= bytes.len(), "the ports are in the packet");
}
