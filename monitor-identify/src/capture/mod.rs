//! From a capture to its conversations: the link layer, packets, and the first payload of each end.
//!
//! The file is read through [`std::io::Read`] from its caller: nothing is opened here.

mod conversation;
mod file;
mod link;
mod packet;

use monitor_common::packet::ethertype;

use self::packet::Packet;
pub use self::{
    conversation::{Finding, Summary},
    file::{is_capture, read as read_capture},
};
use crate::{Identification, scanner::identify_syn};

/// What a connection attempt is by its headers, from the IP header on; nothing comes of anything else.
pub fn connection_attempt(headers: &[u8], family: u8) -> Option<Identification> {
    let ethertype = if family == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    Packet::parse(headers, ethertype).ok()?.attempt().map(|syn| identify_syn(&syn))
}
