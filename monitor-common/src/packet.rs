//! The packet parser: from the first byte of a frame to the ports of its TCP or UDP header.
//!
//! It is pure and never reads past the end: all bytes come through [`PacketBytes`], whose two
//! implementations in the kernel (an XDP buffer and a socket buffer) check bounds. All loops are
//! bounded by constants, as the verifier demands.
//!
//! A packet is exactly one of: a [`Segment`] with ports; not ours (no TCP or UDP inside); or
//! [`Unclassified`], when it may well be ours but its ports cannot be known.

use crate::flow::Protocol;

/// Bounds-checked bytes of one packet.
pub trait PacketBytes {
    /// The `N` bytes at `offset`, or `None` when any of them lies past the end.
    ///
    /// `scratch` is where an implementation may copy bytes that are not contiguous in memory.
    fn chunk<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut [u8; N],
    ) -> Option<&'a [u8; N]>;
}

/// Why the ports of a packet cannot be known; the index into the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Unclassified {
    /// A fragment other than the first: it has no transport header.
    Fragment = 0,
    /// The packet ends before the last byte of a header that it promises.
    Truncated = 1,
    /// More IPv6 extension headers than [`MAX_EXTENSION_HEADERS`].
    ExtensionHeaders = 2,
    /// More VLAN tags than [`MAX_VLAN_TAGS`].
    VlanTags = 3,
    /// The version or header length of an IP header contradicts itself.
    Malformed = 4,
}

impl Unclassified {
    /// How many causes there are.
    pub const COUNT: usize = 5;

    /// Every cause, in the order of its index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Fragment, Self::Truncated, Self::ExtensionHeaders, Self::VlanTags, Self::Malformed];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fragment => "fragment",
            Self::Truncated => "truncated",
            Self::ExtensionHeaders => "extension_headers",
            Self::VlanTags => "vlan_tags",
            Self::Malformed => "malformed",
        }
    }
}

/// The transport header of a packet, as far as counting needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Source port, host byte order.
    pub source: u16,
    /// Destination port, host byte order.
    pub destination: u16,
    /// TCP with SYN and without ACK, RFC 9293 §3.5.
    pub connection_attempt: bool,
    /// Bytes from the start of the packet to the transport payload: what every segment of a GRO
    /// or TSO super-packet repeats on the wire.
    pub headers_len: u32,
}

/// What the parser makes of a packet.
///
/// One flat record rather than an enum with payloads: the payload of a variant that does not hold
/// is undefined to the compiler, which then copies registers that were never written, which the
/// verifier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    verdict: Verdict,
    segment: Segment,
}

/// Which kind of packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// TCP or UDP with ports.
    Segment,
    /// Neither TCP nor UDP over IP: nothing that could carry a port.
    NotOurs,
    /// TCP or UDP, or on the way to it, and the ports cannot be known.
    Unclassified(Unclassified),
}

impl Parsed {
    const NOT_OURS: Self = Self::without_segment(Verdict::NotOurs);

    const fn without_segment(verdict: Verdict) -> Self {
        let segment = Segment {
            protocol: Protocol::Tcp,
            source: 0,
            destination: 0,
            connection_attempt: false,
            headers_len: 0,
        };
        Self { verdict, segment }
    }

    const fn unclassified_by(cause: Unclassified) -> Self {
        Self::without_segment(Verdict::Unclassified(cause))
    }

    const fn of(segment: Segment) -> Self {
        Self { verdict: Verdict::Segment, segment }
    }

    /// The transport header, of a packet that has one with ports.
    #[inline(always)]
    pub const fn segment(&self) -> Option<&Segment> {
        match self.verdict {
            Verdict::Segment => Some(&self.segment),
            _ => None,
        }
    }

    /// Why the ports cannot be known, of a packet that may be ours.
    #[inline(always)]
    pub const fn unclassified(&self) -> Option<Unclassified> {
        match self.verdict {
            Verdict::Unclassified(cause) => Some(cause),
            _ => None,
        }
    }
}

/// VLAN tags that are walked: one 802.1ad service tag and one 802.1Q customer tag.
pub const MAX_VLAN_TAGS: usize = 2;

/// IPv6 extension headers that are walked, RFC 8200 §4.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// IEEE 802 numbers, `include/uapi/linux/if_ether.h`.
pub mod ethertype {
    /// Internet Protocol version 4.
    pub const IPV4: u16 = 0x0800;
    /// Internet Protocol version 6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// Assigned protocol numbers, `include/uapi/linux/in.h` and `in6.h`.
mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

const ETHERNET_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;

const TRUNCATED: Parsed = Parsed::unclassified_by(Unclassified::Truncated);

/// Parses a packet that starts with an Ethernet header.
#[inline(always)]
pub fn parse_ethernet<P: PacketBytes>(packet: &P) -> Parsed {
    let mut scratch = [0; ETHERNET_LEN];
    let Some(header) = packet.chunk(0, &mut scratch) else {
        return TRUNCATED;
    };
    let mut ethertype = be16(header[12], header[13]);
    let mut offset = ETHERNET_LEN;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ethertype) {
            break;
        }
        let mut scratch = [0; VLAN_TAG_LEN];
        let Some(tag) = packet.chunk(offset, &mut scratch) else {
            return TRUNCATED;
        };
        ethertype = be16(tag[2], tag[3]);
        offset += VLAN_TAG_LEN;
    }
    if is_vlan(ethertype) {
        return Parsed::unclassified_by(Unclassified::VlanTags);
    }
    parse_network(packet, ethertype, offset)
}

/// Parses a packet that starts with its IP header, as devices without a link layer carry it.
///
/// `ethertype` is the packet's protocol in host byte order.
#[inline(always)]
pub fn parse_ip<P: PacketBytes>(packet: &P, ethertype: u16) -> Parsed {
    parse_network(packet, ethertype, 0)
}

#[inline(always)]
fn parse_network<P: PacketBytes>(packet: &P, ethertype: u16, offset: usize) -> Parsed {
    match ethertype {
        ethertype::IPV4 => parse_ipv4(packet, offset),
        ethertype::IPV6 => parse_ipv6(packet, offset),
        _ => Parsed::NOT_OURS,
    }
}

/// IPv4, RFC 791 §3.1.
#[inline(always)]
fn parse_ipv4<P: PacketBytes>(packet: &P, offset: usize) -> Parsed {
    let mut scratch = [0; IPV4_LEN];
    let Some(header) = packet.chunk(offset, &mut scratch) else {
        return TRUNCATED;
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_LEN {
        return Parsed::unclassified_by(Unclassified::Malformed);
    }
    let Some(protocol) = Protocol::from_ip_number(header[9]) else {
        return Parsed::NOT_OURS;
    };
    if be16(header[6], header[7]) & 0x1fff != 0 {
        return Parsed::unclassified_by(Unclassified::Fragment);
    }
    let datagram_len = usize::from(be16(header[2], header[3]));
    parse_transport(packet, protocol, offset + header_len, header_len, datagram_len)
}

/// IPv6 with its extension headers, RFC 8200 §3 and §4.
#[inline(always)]
fn parse_ipv6<P: PacketBytes>(packet: &P, offset: usize) -> Parsed {
    let mut scratch = [0; IPV6_LEN];
    let Some(header) = packet.chunk(offset, &mut scratch) else {
        return TRUNCATED;
    };
    if header[0] >> 4 != 6 {
        return Parsed::unclassified_by(Unclassified::Malformed);
    }
    let payload_len = usize::from(be16(header[4], header[5]));
    let mut next = header[6];
    let mut extensions_len = 0;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let start = offset + IPV6_LEN + extensions_len;
        match next {
            next_header::HOP_BY_HOP | next_header::ROUTING | next_header::DESTINATION => {
                let mut scratch = [0; 2];
                let Some(extension) = packet.chunk(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = extension[0];
                extensions_len += (usize::from(extension[1]) + 1) * 8;
            }
            // RFC 4302 §2.2: the length is in units of four bytes, less two.
            next_header::AUTHENTICATION => {
                let mut scratch = [0; 2];
                let Some(extension) = packet.chunk(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = extension[0];
                extensions_len += (usize::from(extension[1]) + 2) * 4;
            }
            next_header::FRAGMENT => {
                let mut scratch = [0; 8];
                let Some(extension) = packet.chunk(start, &mut scratch) else {
                    return TRUNCATED;
                };
                next = extension[0];
                if be16(extension[2], extension[3]) & 0xfff8 != 0 {
                    return later_ipv6_fragment(next);
                }
                extensions_len += 8;
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
    let transport = offset + IPV6_LEN + extensions_len;
    parse_transport(packet, protocol, transport, extensions_len, payload_len)
}

/// A fragment of something that is neither TCP nor UDP was never going to have ports.
#[inline(always)]
fn later_ipv6_fragment(next: u8) -> Parsed {
    if matches!(next, next_header::TCP | next_header::UDP) || is_extension(next) {
        Parsed::unclassified_by(Unclassified::Fragment)
    } else {
        Parsed::NOT_OURS
    }
}

/// Whether the IP header promises `len` bytes of transport header after `before` bytes that it
/// counts, too. A length of 0 says nothing: it stands for a jumbogram or a super-packet of more
/// than 64 KiB (BIG TCP).
#[inline(always)]
const fn promises(ip_len: usize, before: usize, len: usize) -> bool {
    ip_len == 0 || ip_len >= before + len
}

/// The fixed part of a TCP (RFC 9293 §3.1) or UDP (RFC 768) header.
///
/// Both ends count: the packet's, and the one that the IP header promises. What lies between them
/// is Ethernet padding, and ports must not be read from padding.
#[inline(always)]
fn parse_transport<P: PacketBytes>(
    packet: &P,
    protocol: Protocol,
    offset: usize,
    before: usize,
    ip_len: usize,
) -> Parsed {
    match protocol {
        Protocol::Tcp => {
            let mut scratch = [0; TCP_LEN];
            let header = packet.chunk(offset, &mut scratch);
            let (Some(header), true) = (header, promises(ip_len, before, TCP_LEN)) else {
                return TRUNCATED;
            };
            const SYN: u8 = 0x02;
            const ACK: u8 = 0x10;
            let header_len = u32::from(header[12] >> 4) * 4;
            Parsed::of(Segment {
                protocol,
                source: be16(header[0], header[1]),
                destination: be16(header[2], header[3]),
                connection_attempt: header[13] & (SYN | ACK) == SYN,
                headers_len: offset as u32 + header_len.max(TCP_LEN as u32),
            })
        }
        Protocol::Udp => {
            let mut scratch = [0; UDP_LEN];
            let header = packet.chunk(offset, &mut scratch);
            let (Some(header), true) = (header, promises(ip_len, before, UDP_LEN)) else {
                return TRUNCATED;
            };
            Parsed::of(Segment {
                protocol,
                source: be16(header[0], header[1]),
                destination: be16(header[2], header[3]),
                connection_attempt: false,
                headers_len: (offset + UDP_LEN) as u32,
            })
        }
    }
}

#[inline(always)]
const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[inline(always)]
const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
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

impl PacketBytes for [u8] {
    fn chunk<'a, const N: usize>(
        &'a self,
        offset: usize,
        _scratch: &'a mut [u8; N],
    ) -> Option<&'a [u8; N]> {
        self.get(offset..)?.first_chunk()
    }
}
