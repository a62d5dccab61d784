//! The packet parser: from the first byte of a frame to the ports of its TCP or UDP header.
//!
//! It is pure and never reads past the end: all bytes come through [`PacketBytes`], whose two
//! implementations in the kernel (an XDP buffer and a socket buffer) check bounds. All loops are
//! bounded by constants, as the verifier demands.
//!
//! A packet is exactly one of: a [`Segment`] with ports; not ours (no TCP or UDP inside); or
//! [`Unclassified`], when it may well be ours but its ports cannot be known.

pub use crate::unclassified::Unclassified;
use crate::{
    flow::{Orientation, Protocol},
    ports::WirePort,
};

/// Bounds-checked bytes of one packet.
///
/// They are read as 16-bit words, because all fields and lengths of headers are made of those, and
/// all headers lie at even addresses, where drivers put them for the sake of machines that cannot
/// read others. A compiler that may not assume this reads byte by byte.
pub trait PacketBytes {
    /// The `N` words at `offset`, which counts bytes, or `None` when any lies past the end.
    ///
    /// `scratch` is where an implementation may copy words that are not contiguous in memory.
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>>;
}

/// Words of a packet as they are in memory: in network byte order.
pub type Words<const N: usize> = [u16; N];

/// The transport header of a packet, as far as counting needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Source port.
    pub source: WirePort,
    /// Destination port.
    pub destination: WirePort,
    /// Bytes from the start of the packet to the IP header.
    pub network: u32,
    /// Bytes from the start of the packet to the transport header.
    pub offset: u32,
    /// Data offset and control bits of TCP as they lie in memory, RFC 9293 §3.1; 0 for UDP.
    ///
    /// Raw, because only packets on a watched port need their meaning.
    pub control: u16,
}

/// A [`Segment`] in one register, and which of its ports are watched: what the functions of the
/// kernel side hand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedSegment(pub u64);

impl PackedSegment {
    /// Of a packet that there is nothing to do with.
    pub const NONE: Self = Self(0);

    const DESTINATION: u32 = 16;
    const OFFSET: u32 = 32;
    const NETWORK: u32 = 47;
    const UDP: u32 = 51;
    const DATA_OFFSET: u32 = 52;
    const SYN: u32 = 56;
    const RST: u32 = 57;
    const ACK: u32 = 58;
    const SOURCE_IS_WATCHED: u32 = 59;
    const DESTINATION_IS_WATCHED: u32 = 60;
    const REVERSED: u32 = 61;
    const TRANSIT: u32 = 62;

    /// Packs it; bit 0 of `source` and `destination` says whether that port is watched.
    #[inline(always)]
    pub const fn of(segment: &Segment, source: u64, destination: u64) -> Self {
        let [_, flags] = segment.control.to_ne_bytes();
        let flags = flags as u64;
        let udp = matches!(segment.protocol, Protocol::Udp) as u64;
        Self(
            segment.source.0 as u64
                | (segment.destination.0 as u64) << Self::DESTINATION
                | (segment.offset as u64 & 0x7fff) << Self::OFFSET
                | ((segment.network as u64 / 2) & 0xf) << Self::NETWORK
                | udp << Self::UDP
                | (first(segment.control) as u64 >> 4) << Self::DATA_OFFSET
                | (flags >> 1 & 1) << Self::SYN
                | (flags >> 2 & 1) << Self::RST
                | (flags >> 4 & 1) << Self::ACK
                | (source & 1) << Self::SOURCE_IS_WATCHED
                | (destination & 1) << Self::DESTINATION_IS_WATCHED,
        )
    }

    #[inline(always)]
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// TCP or UDP.
    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        if self.bit(Self::UDP) { Protocol::Udp } else { Protocol::Tcp }
    }

    /// Source port.
    #[inline(always)]
    pub const fn source(self) -> WirePort {
        WirePort(self.0 as u16)
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination(self) -> WirePort {
        WirePort((self.0 >> Self::DESTINATION) as u16)
    }

    /// Both ports as they lie in the packet.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        self.0 as u32
    }

    /// Whether the source port is watched.
    #[inline(always)]
    pub const fn source_is_watched(self) -> bool {
        self.bit(Self::SOURCE_IS_WATCHED)
    }

    /// Whether the destination port is watched.
    #[inline(always)]
    pub const fn destination_is_watched(self) -> bool {
        self.bit(Self::DESTINATION_IS_WATCHED)
    }

    /// The same segment of a packet whose orientation is known. Without it, it is
    /// [`Orientation::Usual`].
    #[inline(always)]
    pub const fn with_orientation(self, orientation: Orientation) -> Self {
        let bits = match orientation {
            Orientation::Usual => 0,
            Orientation::Reversed => 1 << Self::REVERSED,
            Orientation::Transit => 1 << Self::TRANSIT,
        };
        Self(self.0 | bits)
    }

    /// Which end of the packet is this host's.
    #[inline(always)]
    pub const fn orientation(self) -> Orientation {
        if self.bit(Self::TRANSIT) {
            Orientation::Transit
        } else if self.bit(Self::REVERSED) {
            Orientation::Reversed
        } else {
            Orientation::Usual
        }
    }

    /// Bytes from the start of the packet to the IP header.
    #[inline(always)]
    pub const fn network(self) -> u32 {
        (self.0 >> Self::NETWORK & 0xf) as u32 * 2
    }

    /// Bytes from the start of the packet to the transport header.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        (self.0 >> Self::OFFSET & 0x7fff) as u32
    }

    /// Bytes from the start of the packet to the payload: see [`headers_len`].
    #[inline(always)]
    pub const fn headers_len(self) -> u32 {
        let data_offset = (self.0 >> Self::DATA_OFFSET & 0xf) as u8;
        let control = u16::from_ne_bytes([data_offset << 4, 0]);
        headers_len(self.protocol(), self.offset(), control)
    }

    /// Whether a TCP segment has the control bit SYN, RFC 9293 §3.1.
    #[inline(always)]
    pub const fn is_syn(self) -> bool {
        self.bit(Self::SYN)
    }

    /// Whether it has the control bit RST.
    #[inline(always)]
    pub const fn is_rst(self) -> bool {
        self.bit(Self::RST)
    }

    /// Whether it is SYN with ACK, RFC 9293 §3.5.
    #[inline(always)]
    pub const fn is_connection_answer(self) -> bool {
        self.0 >> Self::SYN & 0b101 == 0b101
    }

    /// Whether it is SYN without ACK, RFC 9293 §3.5.
    #[inline(always)]
    pub const fn is_connection_attempt(self) -> bool {
        self.0 >> Self::SYN & 0b101 == 1
    }
}

/// Bytes from the start of the packet to the transport payload, by the fields of a [`Segment`]: what
/// every segment of a GRO or TSO super-packet repeats on the wire.
#[inline(always)]
pub const fn headers_len(protocol: Protocol, offset: u32, control: u16) -> u32 {
    let transport_len = match protocol {
        Protocol::Udp => UDP_LEN as u32,
        Protocol::Tcp => {
            let words = (first(control) >> 4) as u32;
            if words < 5 { TCP_LEN as u32 } else { words * 4 }
        }
    };
    offset + transport_len
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
            source: WirePort(0),
            destination: WirePort(0),
            network: 0,
            offset: 0,
            control: 0,
        };
        Self { verdict, segment }
    }

    const fn unclassified_by(cause: Unclassified) -> Self {
        Self::without_segment(Verdict::Unclassified(cause))
    }

    const fn of(segment: Segment) -> Self {
        Self { verdict: Verdict::Segment, segment }
    }

    /// The same, of a packet whose IP header is there.
    #[inline(always)]
    const fn with_network(mut self, offset: usize) -> Self {
        self.segment.network = offset as u32;
        self
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
const FRAGMENT_LEN: usize = 8;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;

const TRUNCATED: Parsed = Parsed::unclassified_by(Unclassified::Truncated);

/// Parses a packet that starts with an Ethernet header.
#[inline(always)]
pub fn parse_ethernet<P: PacketBytes>(packet: &P) -> Parsed {
    let mut scratch = [0; ETHERNET_LEN / 2];
    let Some(header) = packet.words(0, &mut scratch) else {
        return TRUNCATED;
    };
    let mut ethertype = u16::from_be(header[6]);
    let mut offset = ETHERNET_LEN;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ethertype) {
            break;
        }
        let mut scratch = [0; VLAN_TAG_LEN / 2];
        let Some(tag) = packet.words(offset, &mut scratch) else {
            return TRUNCATED;
        };
        ethertype = u16::from_be(tag[1]);
        offset += VLAN_TAG_LEN;
    }
    if is_vlan(ethertype) {
        return Parsed::unclassified_by(Unclassified::VlanTags);
    }
    parse_network(packet, ethertype, offset)
}

/// Parses the shape of nearly all packets: TCP or UDP over IPv4 or IPv6 in an Ethernet frame, with
/// neither tags nor options nor extension headers.
///
/// Reads them at constant offsets, in half the time of [`parse_ethernet`], which says the same of
/// them. `None` is for that one to find out about.
#[inline(always)]
pub fn parse_plain<P: PacketBytes>(packet: &P) -> Option<Segment> {
    const IPV4: u16 = ethertype::IPV4.to_be();
    const IPV6: u16 = ethertype::IPV6.to_be();
    let mut scratch = [0; (ETHERNET_LEN + IPV4_LEN) / 2];
    let header = packet.words(0, &mut scratch)?;
    let version_and_len = first(header[7]);
    let (number, offset, promise) = match header[6] {
        IPV4 if version_and_len == 0x45 && header[10] & FRAGMENT_OFFSET == 0 => {
            let promise = Promise { ip_len: u16::from_be(header[8]), before_transport: IPV4_LEN };
            (second(header[11]), ETHERNET_LEN + IPV4_LEN, promise)
        }
        IPV6 if version_and_len >> 4 == 6 => {
            let promise = Promise { ip_len: u16::from_be(header[9]), before_transport: 0 };
            (first(header[10]), ETHERNET_LEN + IPV6_LEN, promise)
        }
        _ => return None,
    };
    let protocol = Protocol::from_ip_number(number)?;
    let parsed = parse_transport(packet, protocol, offset, promise).with_network(ETHERNET_LEN);
    parsed.segment().copied()
}

/// Whether an Ethernet frame carries neither IP nor a VLAN tag, behind which IP could be: a shortcut
/// for [`parse_ethernet`], which says the same.
#[inline(always)]
pub fn is_not_ip<P: PacketBytes>(packet: &P) -> bool {
    let mut scratch = [0; ETHERNET_LEN / 2];
    let Some(header) = packet.words(0, &mut scratch) else { return false };
    let ethertype = u16::from_be(header[6]);
    !matches!(ethertype, ethertype::IPV4 | ethertype::IPV6) && !is_vlan(ethertype)
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
        ethertype::IPV4 => parse_ipv4(packet, offset).with_network(offset),
        ethertype::IPV6 => parse_ipv6(packet, offset).with_network(offset),
        _ => Parsed::NOT_OURS,
    }
}

/// Mask of the fragment offset of IPv4, RFC 791 §3.1. Tested as it lies in memory, or LLVM reads it
/// in two halves.
const FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();

/// IPv4, RFC 791 §3.1.
#[inline(always)]
fn parse_ipv4<P: PacketBytes>(packet: &P, offset: usize) -> Parsed {
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
fn parse_ipv6<P: PacketBytes>(packet: &P, offset: usize) -> Parsed {
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

/// A fragment of something that is neither TCP nor UDP was never going to have ports.
#[inline(always)]
fn later_ipv6_fragment(next: u8) -> Parsed {
    if matches!(next, next_header::TCP | next_header::UDP) || is_extension(next) {
        Parsed::unclassified_by(Unclassified::Fragment)
    } else {
        Parsed::NOT_OURS
    }
}

/// What the length field of an IP header says of the transport.
#[derive(Clone, Copy)]
struct Promise {
    /// Bytes that it promises in all. 0 says nothing: it stands for a jumbogram or a super-packet
    /// of more than 64 KiB (BIG TCP).
    ip_len: u16,
    /// Bytes of these that are options or extension headers.
    before_transport: usize,
}

impl Promise {
    /// Whether a transport header of `len` bytes, which is not 0, is promised.
    #[inline(always)]
    const fn covers(self, len: usize) -> bool {
        // Nothing wraps around to everything.
        (self.ip_len as usize).wrapping_sub(1) >= self.before_transport + len - 1
    }
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
    promise: Promise,
) -> Parsed {
    match protocol {
        Protocol::Tcp => {
            let mut scratch = [0; TCP_LEN / 2];
            let header = packet.words(offset, &mut scratch);
            let (Some(header), true) = (header, promise.covers(TCP_LEN)) else {
                return TRUNCATED;
            };
            Parsed::of(Segment {
                protocol,
                source: WirePort(header[0]),
                destination: WirePort(header[1]),
                network: 0,
                offset: offset as u32,
                control: header[6],
            })
        }
        Protocol::Udp => {
            let mut scratch = [0; UDP_LEN / 2];
            let header = packet.words(offset, &mut scratch);
            let (Some(header), true) = (header, promise.covers(UDP_LEN)) else {
                return TRUNCATED;
            };
            Parsed::of(Segment {
                protocol,
                source: WirePort(header[0]),
                destination: WirePort(header[1]),
                network: 0,
                offset: offset as u32,
                control: 0,
            })
        }
    }
}

/// The byte of a word that comes first on the wire.
#[inline(always)]
const fn first(word: u16) -> u8 {
    word.to_ne_bytes()[0]
}

/// The byte of a word that comes second on the wire.
#[inline(always)]
const fn second(word: u16) -> u8 {
    word.to_ne_bytes()[1]
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
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        let (pairs, _) = self.get(offset..)?.as_chunks();
        for (word, pair) in scratch.iter_mut().zip(pairs.get(..N)?) {
            *word = u16::from_ne_bytes(*pair);
        }
        Some(scratch)
    }
}
