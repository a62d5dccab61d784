//! Connection attempts outside of captures.

use monitor_common::packet::ethertype;

use super::packet::Packet;
use crate::{Identification, scanner::identify_syn};

/// Identifies a connection attempt by its headers, from the IP header on; `None` for anything else.
pub fn connection_attempt(headers: &[u8], family: u8) -> Option<Identification> {
    let ethertype = if family == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    Packet::parse(headers, ethertype).ok()?.attempt().map(|syn| identify_syn(&syn))
}
