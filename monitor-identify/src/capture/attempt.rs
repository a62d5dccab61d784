//! Connection attempts and scans outside of captures.

use monitor_common::packet::ethertype;

use super::packet::Packet;
use crate::{
    Identification,
    scanner::{identify_stray, identify_syn},
};

/// Identifies a connection attempt by its headers, from the IP header on; `None` for anything else.
pub fn connection_attempt(headers: &[u8], family: u8) -> Option<Identification> {
    packet(headers, family)?.attempt().map(|syn| identify_syn(&syn))
}

/// Identifies a scan by the headers of a segment without payload that belongs to no connection, from
/// the IP header on; `None` for anything else.
pub fn stray_segment(headers: &[u8], family: u8) -> Option<Identification> {
    packet(headers, family)?.stray().and_then(|stray| identify_stray(&stray))
}

fn packet(headers: &[u8], family: u8) -> Option<Packet<'_>> {
    let ethertype = if family == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    Packet::parse(headers, ethertype).ok()
}
