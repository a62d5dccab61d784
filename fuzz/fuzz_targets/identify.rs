//! Identification: every payload gets one answer, which depends on nothing behind the payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor_common::flow::{Direction, Protocol};
use monitor_identify::{Payload, identify};

/// Bytes before the payload: flags, ports, and how many bytes are missing at its end.
const HEADER: usize = 7;

fuzz_target!(|input: &[u8]| {
    let Some((header, bytes)) = input.split_first_chunk::<HEADER>() else { return };
    let [flags, from_high, from_low, to_high, to_low, missing_high, missing_low] = *header;
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let missing = u16::from_be_bytes([missing_high, missing_low]);
    let payload = Payload {
        bytes,
        wire_len: bytes.len() + usize::from(missing),
        transport: flag(0).then_some(if flag(1) { Protocol::Udp } else { Protocol::Tcp }),
        source_port: flag(2).then_some(u16::from_be_bytes([from_high, from_low])),
        destination_port: flag(3).then_some(u16::from_be_bytes([to_high, to_low])),
        direction: flag(4).then_some(if flag(5) { Direction::Egress } else { Direction::Ingress }),
    };
    let found = identify(&payload);
    let mut longer = bytes.to_vec();
    longer.extend([0xa5; 64]);
    let again = identify(&Payload { bytes: &longer[..bytes.len()], ..payload });
    assert_eq!(found, again, "bytes behind the payload matter");
    assert!(serde_json::to_string(&found).is_ok());
});
