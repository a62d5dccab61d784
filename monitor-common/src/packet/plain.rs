//! The shortcut for the shape of nearly all packets.

use super::{
    bytes::{PacketBytes, first, second},
    ethertype,
    link::ETHERNET_LEN,
    network::{FRAGMENT_OFFSET, IPV4_LEN, IPV6_LEN},
    segment::Segment,
    transport::{Promise, parse_transport},
};
use crate::flow::Protocol;

/// Parses the shape of nearly all packets: TCP or UDP over IPv4 or IPv6 in an Ethernet frame, with
/// neither tags nor options nor extension headers.
///
/// Reads them at constant offsets, in half the time of [`parse_ethernet`], which says the same of
/// them. `None` is for that one to find out about.
#[inline(always)]
pub fn parse_plain<P: PacketBytes + ?Sized>(packet: &P) -> Option<Segment> {
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
    let protocol = Protocol::common_from_ip_number(number)?;
    let parsed = parse_transport(packet, protocol, offset, promise).with_network(ETHERNET_LEN);
    parsed.segment().copied()
}
