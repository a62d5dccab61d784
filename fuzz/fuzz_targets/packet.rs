//! The packet parser: it never panics, stays inside the packet, and its two ways agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor_common::packet::{PacketBytes, Parsed, Words, parse_ethernet, parse_ip, parse_plain};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Bytes of the two ports, which every segment has.
const PORTS: usize = 4;

struct Frame<'a>(&'a [u8]);

impl PacketBytes for Frame<'_> {
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        self.0.words(offset, scratch)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let frame = Frame(bytes);
    let parsed = parse_ethernet(&frame);
    check(&parsed, bytes);
    if let Some(segment) = parse_plain(&frame) {
        assert_eq!(Some(&segment), parsed.segment(), "the two parsers differ");
    }
    for ethertype in [IPV4, IPV6] {
        check(&parse_ip(&frame, ethertype), bytes);
    }
});

fn check(parsed: &Parsed, bytes: &[u8]) {
    let Some(segment) = parsed.segment() else { return };
    assert!(parsed.unclassified().is_none(), "a segment is classified");
    assert!(segment.network <= segment.offset, "the IP header comes first");
    assert!(segment.offset as usize + PORTS <= bytes.len(), "the ports are in the packet");
}
