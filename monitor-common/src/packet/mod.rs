//! The packet parser: from the first byte of a frame to the ports of its transport header.
//!
//! It is pure and never reads past the end: all bytes come through [`PacketBytes`], whose two
//! implementations in the kernel (an XDP buffer and a socket buffer) check bounds. All loops are
//! bounded by constants, as the verifier demands.
//!
//! A packet is exactly one of: a [`Segment`] with ports; not ours (of a protocol
//! without ports); or [`Unclassified`], when it may well be ours but its ports cannot be known.
mod bytes;
pub mod ethertype;
mod link;
mod network;
mod packed_segment;
mod parsed;
mod plain;
mod segment;
mod transport;

pub use self::{
    bytes::{PacketBytes, Words},
    link::{MAX_VLAN_TAGS, is_not_ip, parse_ethernet, parse_ip},
    network::MAX_EXTENSION_HEADERS,
    packed_segment::PackedSegment,
    parsed::Parsed,
    plain::{PlainVisitor, parse_plain, visit_plain},
    segment::{Segment, headers_len},
};
pub use crate::unclassified::Unclassified;
