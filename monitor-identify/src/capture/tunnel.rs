//! Packets inside packets: IP in IP, GRE, VXLAN and Geneve.

use monitor_common::{flow::Protocol, packet::ethertype};

use super::{
    link::{self, Carried},
    packet::{NoPacket, Packet},
};
use crate::reader::Reader;

/// Tunnels inside each other that are walked.
const MAX_DEPTH: usize = 8;

const VXLAN: u16 = 4789;
/// The port of VXLAN before it was assigned, which Linux still uses by default.
const VXLAN_OF_LINUX: u16 = 8472;
const GENEVE: u16 = 6081;

/// Parses an IP packet, or the innermost one that it carries.
pub(super) fn parse(ip: &[u8], kind: u16) -> Result<Packet<'_>, NoPacket> {
    let (mut ip, mut kind) = (ip, kind);
    for _ in 0..MAX_DEPTH {
        let outer = Packet::parse(ip, kind);
        let inner = match &outer {
            Ok(packet) if packet.protocol == Protocol::Udp => inside_udp(packet),
            Err(NoPacket::NotOurs) => inside_ip(ip, kind),
            _ => None,
        };
        match inner {
            Some(Carried::Ip { ethertype, bytes }) => (ip, kind) = (bytes, ethertype),
            _ => return outer,
        }
    }
    Err(NoPacket::NotOurs)
}

/// The packet behind an IP header whose protocol is a tunnel's.
fn inside_ip(ip: &[u8], kind: u16) -> Option<Carried<'_>> {
    const IPV4_IN_IP: u8 = 4;
    const IPV6_IN_IP: u8 = 41;
    const GRE: u8 = 47;
    const ETHERNET_IN_IP: u8 = 97;
    let (protocol, rest) = upper_layer(ip, kind)?;
    match protocol {
        IPV4_IN_IP | IPV6_IN_IP => Some(link::by_version(rest)),
        GRE => gre(rest),
        ETHERNET_IN_IP => {
            let mut reader = Reader::new(rest);
            reader.be16()?;
            link::ethernet(reader)
        }
        _ => None,
    }
}

/// The protocol that IP carries, and its bytes.
fn upper_layer(ip: &[u8], kind: u16) -> Option<(u8, &[u8])> {
    if kind == ethertype::IPV4 {
        let header = usize::from(*ip.first()? & 15) * 4;
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let is_later_fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x1fff != 0;
        let end = if total < header { ip.len() } else { total.min(ip.len()) };
        return (!is_later_fragment).then_some((*ip.get(9)?, ip.get(header..end)?));
    }
    let mut reader = Reader::new(ip);
    reader.take(6)?;
    let mut next = reader.u8()?;
    reader.take(33)?;
    // Hop-by-hop, routing and destination options.
    for _ in 0..MAX_DEPTH {
        if !matches!(next, 0 | 43 | 60) {
            return Some((next, reader.rest()));
        }
        let [following, len] = reader.array()?;
        reader.take(usize::from(len) * 8 + 6)?;
        next = following;
    }
    None
}

/// Generic routing encapsulation, RFC 2784, RFC 2890, RFC 2637 §4.1, and ERSPAN inside it.
fn gre(bytes: &[u8]) -> Option<Carried<'_>> {
    const HAS_CHECKSUM: u16 = 0x8000;
    const HAS_ROUTING: u16 = 0x4000;
    const HAS_KEY: u16 = 0x2000;
    const HAS_SEQUENCE: u16 = 0x1000;
    const HAS_ACKNOWLEDGEMENT: u16 = 0x0080;
    const PPP: u16 = 0x880b;
    const ERSPAN_2: u16 = 0x88be;
    const ERSPAN_3: u16 = 0x22eb;
    let mut reader = Reader::new(bytes);
    let flags = reader.be16()?;
    let kind = reader.be16()?;
    for flag in [HAS_CHECKSUM | HAS_ROUTING, HAS_KEY, HAS_SEQUENCE, HAS_ACKNOWLEDGEMENT] {
        if flags & flag != 0 {
            reader.be32()?;
        }
    }
    match kind {
        PPP => Some(link::strip(super::linktype::PPP, reader.rest())),
        ERSPAN_2 => {
            // The first version has no header of its own, and no sequence.
            if flags & HAS_SEQUENCE != 0 {
                reader.be64()?;
            }
            link::ethernet(reader)
        }
        ERSPAN_3 => {
            reader.take(12)?;
            link::ethernet(reader)
        }
        _ => Some(link::by_ethertype(kind, reader.rest())),
    }
}

/// The packet in a datagram to the port of a tunnel, if the datagram has its header.
fn inside_udp<'a>(packet: &Packet<'a>) -> Option<Carried<'a>> {
    let mut reader = Reader::new(packet.payload);
    match packet.destination.port() {
        VXLAN | VXLAN_OF_LINUX => {
            // RFC 7348 §5: a flag, and bits that must be zero.
            let [0x08 | 0x88, 0, 0 | 0x80, 0, _, _, _, 0] = reader.array()? else { return None };
            link::ethernet(reader)
        }
        GENEVE => {
            // RFC 8926 §3.4: version 0, the length of options in words, a type and a network.
            let [version_and_len, flags] = reader.array()?;
            let kind = reader.be16()?;
            let [_, _, _, reserved] = reader.array()?;
            if version_and_len >> 6 != 0 || flags & 0x3f != 0 || reserved != 0 {
                return None;
            }
            reader.take(usize::from(version_and_len & 0x3f) * 4)?;
            Some(link::by_ethertype(kind, reader.rest()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let len = (20 + rest.len()) as u16;
        let [high, low] = len.to_be_bytes();
        let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(rest);
        packet
    }

    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let mut datagram = 40000_u16.to_be_bytes().to_vec();
        datagram.extend(port.to_be_bytes());
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        ipv4(17, &datagram)
    }

    fn frame(ip: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &[8, 0], ip].concat()
    }

    #[test]
    fn the_innermost_packet_is_found() {
        let inner = udp(2948, b"x");
        let key = [0x20, 0, 8, 0, 0, 0, 0, 1];
        for (name, outer) in [
            ("IP in IP", ipv4(4, &inner)),
            ("GRE", ipv4(47, &[&[0, 0, 8, 0][..], &inner].concat())),
            ("GRE with a key", ipv4(47, &[&key[..], &inner].concat())),
            ("GRE with a frame", ipv4(47, &[&[0, 0, 0x65, 0x58][..], &frame(&inner)].concat())),
            ("VXLAN", udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &frame(&inner)].concat())),
            ("Geneve", udp(6081, &[&[0, 0, 0x65, 0x58, 0, 0, 1, 0][..], &frame(&inner)].concat())),
            ("two of them", ipv4(4, &ipv4(47, &[&[0, 0, 8, 0][..], &inner].concat()))),
        ] {
            let packet = parse(&outer, ethertype::IPV4).expect(name);
            assert_eq!((packet.destination.port(), packet.payload), (2948, &b"x"[..]), "{name}");
        }
    }

    #[test]
    fn a_datagram_to_a_tunnels_port_is_no_tunnel_by_that() {
        let datagram = udp(4789, b"hello there, this is text");
        let packet = parse(&datagram, ethertype::IPV4).expect("a datagram");
        assert_eq!(packet.destination.port(), 4789);
        assert_eq!(parse(&ipv4(47, &[0; 3]), ethertype::IPV4).err(), Some(NoPacket::NotOurs));
    }
}
