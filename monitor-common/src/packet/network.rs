//! The headers of IPv4 and IPv6.

use super::{
    bytes::{PacketBytes, first, second},
    ethertype,
    parsed::{Parsed, TRUNCATED},
    transport::{Promise, parse_transport},
};
use crate::{flow::Protocol, unclassified::Unclassified};

/// IPv6 extension headers that are walked, RFC 8200 §4.
pub const MAX_EXTENSION_HEADERS: usize = 8;

pub(super) const IPV4_LEN: usize = 20;
pub(super) const IPV6_LEN: usize = 40;
const FRAGMENT_LEN: usize = 8;

/// Assigned protocol numbers, `include/uapi/linux/in.h` and `in6.h`.
mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// Mask of the fragment offset of IPv4, RFC 791 §3.1. Tested as it lies in memory, or LLVM reads it
/// in two halves.
pub(super) const FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();

/// Parses a packet from its IP header at `offset`.
#[inline(always)]
pub(super) fn parse_network<P: PacketBytes + ?Sized>(
    packet: &P,
    ethertype: u16,
    offset: usize,
) -> Parsed {
    match ethertype {
        ethertype::IPV4 => parse_ipv4(packet, offset).with_network(offset),
        ethertype::IPV6 => parse_ipv6(packet, offset).with_network(offset),
        _ => Parsed::NOT_OURS,
    }
}

/// IPv4, RFC 791 §3.1.
#[inline(always)]
fn parse_ipv4<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Parsed {
    let mut scratch = [0; IPV4_LEN / 2];
    let Some(header) = packet.words(offset, &mut scratch) else {
        return TRUNCATED;
    };
    // Version 4 and a length of at least five times four bytes.
    let version_and_len = first(header[0]);
    if !matches!(version_and_len, 0x45..=0x4f) {
        return Parsed::unclassified_by(Unclassified::Malformed);
    }
    let header_len = usize::from(version_and_len & 0x0f) * 4;
    let Some(protocol) = Protocol::from_ip_number(second(header[4])) else {
        return Parsed::NOT_OURS;
    };
    if header[3] & FRAGMENT_OFFSET != 0 {
        return Parsed::unclassified_by(Unclassified::Fragment);
    }
    let promise = Promise { ip_len: u16::from_be(header[1]), before_transport: header_len };
    parse_transport(packet, protocol, offset + header_len, promise)
}

/// IPv6 with its extension headers, RFC 8200 §3 and §4.
#[inline(always)]
fn parse_ipv6<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Parsed {
    let mut scratch = [0; IPV6_LEN / 2];
    let Some(header) = packet.words(offset, &mut scratch) else {
        return TRUNCATED;
    };
    if first(header[0]) >> 4 != 6 {
        return Parsed::unclassified_by(Unclassified::Malformed);
    }
    let mut next = first(header[3]);
    let mut extensions_len = 0;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let start = offset + IPV6_LEN + extensions_len;
        match next {
            next_header::HOP_BY_HOP | next_header::ROUTING | next_header::DESTINATION => {
                let mut scratch = [0];
                let Some([extension]) = packet.words(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = first(*extension);
                extensions_len += (usize::from(second(*extension)) + 1) * 8;
            }
            // RFC 4302 §2.2: the length is in units of four bytes, less two.
            next_header::AUTHENTICATION => {
                let mut scratch = [0];
                let Some([extension]) = packet.words(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = first(*extension);
                extensions_len += (usize::from(second(*extension)) + 2) * 4;
            }
            next_header::FRAGMENT => {
                let mut scratch = [0; FRAGMENT_LEN / 2];
                let Some(extension) = packet.words(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = first(extension[0]);
                const OFFSET: u16 = 0xfff8_u16.to_be();
                if extension[1] & OFFSET != 0 {
                    return later_ipv6_fragment(next);
                }
                extensions_len += FRAGMENT_LEN;
            }
            _ => break,
        }
    }
    if is_extension(next) {
        return Parsed::unclassified_by(Unclassified::ExtensionHeaders);
    }
    let Some(protocol) = Protocol::from_ip_number(next) else {
        return Parsed::NOT_OURS;
    };
    let promise = Promise { ip_len: u16::from_be(header[2]), before_transport: extensions_len };
    parse_transport(packet, protocol, offset + IPV6_LEN + extensions_len, promise)
}

/// A fragment of a protocol without ports was never going to have any.
#[inline(always)]
fn later_ipv6_fragment(next: u8) -> Parsed {
    if Protocol::from_ip_number(next).is_some() || is_extension(next) {
        Parsed::unclassified_by(Unclassified::Fragment)
    } else {
        Parsed::NOT_OURS
    }
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        next_header::HOP_BY_HOP
            | next_header::ROUTING
            | next_header::FRAGMENT
            | next_header::AUTHENTICATION
            | next_header::DESTINATION
    )
}
