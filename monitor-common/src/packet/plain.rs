//! The shortcut for the shape of nearly all packets: TCP or UDP over IPv4 or IPv6 in an Ethernet frame,
//! with neither tags nor options nor extension headers.
//!
//! Headers are read at constant offsets, in half the time of [`parse_ethernet`](super::parse_ethernet),
//! which says the same of such packets.

use super::{
    bytes::{PacketBytes, first, second},
    ethertype,
    link::ETHERNET_LEN,
    network::{FRAGMENT_OFFSET, IPV4_LEN, IPV6_LEN},
    segment::Segment,
    transport::{Promise, parse_transport},
};
use crate::flow::Protocol;

/// What is done with a plain packet. Each of the four shapes gets a copy of the code, in which protocol
/// and offset of the segment are constants.
pub trait PlainVisitor {
    /// What comes of it.
    type Output;

    /// Takes the segment of a plain packet.
    fn visit(self, segment: Segment) -> Self::Output;
}

/// Hands the segment of a plain packet to `visitor`. `None` is for [`parse_ethernet`](super::parse_ethernet)
/// to find out about.
#[inline(always)]
pub fn visit_plain<P: PacketBytes + ?Sized, V: PlainVisitor>(
    packet: &P,
    visitor: V,
) -> Option<V::Output> {
    const IPV4: u16 = ethertype::IPV4.to_be();
    const IPV6: u16 = ethertype::IPV6.to_be();
    let mut scratch = [0; (ETHERNET_LEN + IPV4_LEN) / 2];
    let header = packet.words(0, &mut scratch)?;
    let version_and_len = first(header[7]);
    match header[6] {
        IPV4 if version_and_len == 0x45 && header[10] & FRAGMENT_OFFSET == 0 => {
            let promise = Promise { ip_len: u16::from_be(header[8]), before_transport: IPV4_LEN };
            let offset = ETHERNET_LEN + IPV4_LEN;
            visit_transport(packet, second(header[11]), offset, promise, visitor)
        }
        IPV6 if version_and_len >> 4 == 6 => {
            let promise = Promise { ip_len: u16::from_be(header[9]), before_transport: 0 };
            let offset = ETHERNET_LEN + IPV6_LEN;
            visit_transport(packet, first(header[10]), offset, promise, visitor)
        }
        _ => None,
    }
}

#[inline(always)]
fn visit_transport<P: PacketBytes + ?Sized, V: PlainVisitor>(
    packet: &P,
    number: u8,
    offset: usize,
    promise: Promise,
    visitor: V,
) -> Option<V::Output> {
    // Each call has a copy of the code, in which the protocol is a constant.
    match Protocol::common_from_ip_number(number)? {
        Protocol::Tcp => visit_segment(packet, Protocol::Tcp, offset, promise, visitor),
        Protocol::Udp => visit_segment(packet, Protocol::Udp, offset, promise, visitor),
        Protocol::UdpLite | Protocol::Sctp => None,
    }
}

#[inline(always)]
fn visit_segment<P: PacketBytes + ?Sized, V: PlainVisitor>(
    packet: &P,
    protocol: Protocol,
    offset: usize,
    promise: Promise,
    visitor: V,
) -> Option<V::Output> {
    let parsed = parse_transport(packet, protocol, offset, promise).with_network(ETHERNET_LEN);
    Some(visitor.visit(*parsed.segment()?))
}

/// The segment of a plain packet: see [`visit_plain`].
#[inline(always)]
pub fn parse_plain<P: PacketBytes + ?Sized>(packet: &P) -> Option<Segment> {
    struct Identity;

    impl PlainVisitor for Identity {
        type Output = Segment;

        #[inline(always)]
        fn visit(self, segment: Segment) -> Segment {
            segment
        }
    }
    visit_plain(packet, Identity)
}
