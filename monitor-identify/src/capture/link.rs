//! Link layers of captures: where the IP packet begins.

use monitor_common::packet::ethertype::{self, SERVICE_VLAN, VLAN};

use super::linktype;
use crate::reader::Reader;

/// Tags, labels and layers inside each other that are walked; more than networks have.
const MAX_LAYERS: usize = 16;

const OLD_VLAN: u16 = 0x9100;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
/// Transparent Ethernet bridging: a frame in a tunnel.
const BRIDGED: u16 = 0x6558;

/// The payload of a link layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carried<'a> {
    /// IP of this version, from its first byte.
    Ip {
        /// IPv4's or IPv6's.
        ethertype: u16,
        /// The packet and what pads it.
        bytes: &'a [u8],
    },
    /// Something else.
    Other,
    /// The packet ends inside the header.
    Cut,
    /// This link layer is not known here.
    Unsupported,
}

/// A link layer by its number, and by its name where that is known.
pub(super) fn described(number: u16) -> String {
    match linktype::name(number) {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

/// Takes the link layer off a packet.
pub(super) fn strip(linktype: u16, packet: &[u8]) -> Carried<'_> {
    let mut reader = Reader::new(packet);
    let known = match linktype {
        linktype::ETHERNET => ethernet(reader),
        linktype::LINUX_SLL => reader
            .take(14)
            .and_then(|_| reader.be16())
            .map(|kind| by_ethertype(kind, reader.rest())),
        linktype::LINUX_SLL2 => reader.be16().and_then(|kind| {
            reader.take(18)?;
            Some(by_ethertype(kind, reader.rest()))
        }),
        // The family's number differs between systems: the version of IP is in the packet.
        linktype::NULL | linktype::LOOP => skip(reader, 4),
        linktype::RAW
        | linktype::RAW_OF_BSD
        | linktype::RAW_OF_OPENBSD
        | linktype::IPV4
        | linktype::IPV6 => Some(by_version(packet)),
        linktype::PPP | linktype::PPP_HDLC | linktype::PPP_PPPD => ppp(reader),
        linktype::PPP_WITH_DIRECTION => reader.u8().and_then(|_| ppp(reader)),
        linktype::PPP_ETHER => pppoe(reader),
        linktype::C_HDLC => {
            reader.be16().and_then(|_| reader.be16()).map(|kind| by_ethertype(kind, reader.rest()))
        }
        linktype::FRAME_RELAY => frame_relay(reader),
        linktype::IEEE802_11 => wireless(reader),
        linktype::RADIOTAP => radiotap(reader),
        linktype::PRISM => reader.take(144).and_then(|_| wireless(reader)),
        linktype::AVS => avs(reader),
        linktype::NFLOG => nflog(reader),
        linktype::PKTAP | linktype::PKTAP_OF_APPLE => pktap(reader),
        linktype::PPI => ppi(reader),
        linktype::SLIP => skip(reader, 16),
        linktype::PFLOG => pflog(reader),
        linktype::ENC => skip(reader, 12),
        _ => return Carried::Unsupported,
    };
    known.unwrap_or(Carried::Cut)
}

/// IP of any version behind `len` bytes.
fn skip<'a>(mut reader: Reader<'a>, len: usize) -> Option<Carried<'a>> {
    reader.take(len)?;
    Some(by_version(reader.rest()))
}

/// A frame of Ethernet from its addresses on.
pub(super) fn ethernet<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    reader.take(12)?;
    let kind = reader.be16()?;
    Some(by_ethertype(kind, reader.rest()))
}

/// What a type announces: IP behind tags, labels or PPP, or a frame of IEEE 802.3 where it is a
/// length.
pub(super) fn by_ethertype(kind: u16, rest: &[u8]) -> Carried<'_> {
    layers(kind, rest).unwrap_or(Carried::Cut)
}

fn layers(mut kind: u16, rest: &[u8]) -> Option<Carried<'_>> {
    const LONGEST_FRAME: u16 = 1500;
    let mut reader = Reader::new(rest);
    for _ in 0..MAX_LAYERS {
        match kind {
            ethertype::IPV4 | ethertype::IPV6 => {
                return Some(Carried::Ip { ethertype: kind, bytes: reader.rest() });
            }
            VLAN | SERVICE_VLAN | OLD_VLAN => {
                reader.be16()?;
                kind = reader.be16()?;
            }
            MPLS | MPLS_MULTICAST => return labels(reader),
            PPPOE_SESSION => return pppoe(reader),
            BRIDGED => {
                reader.take(12)?;
                kind = reader.be16()?;
            }
            // A frame of Novell's, of spanning trees, or of the subnetwork access protocol.
            ..=LONGEST_FRAME => match snap(&mut reader)? {
                Some(inner) => kind = inner,
                None => return Some(Carried::Other),
            },
            _ => return Some(Carried::Other),
        }
    }
    Some(Carried::Other)
}

/// The type behind a header of LLC and SNAP; nothing for other users of LLC.
fn snap(reader: &mut Reader<'_>) -> Option<Option<u16>> {
    const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
    let header: [u8; 6] = reader.array()?;
    if header != SNAP {
        return Some(None);
    }
    reader.be16().map(Some)
}

/// Labels of MPLS, RFC 3032: the last one says so, and its packet begins with a version; a control
/// word announces a frame.
fn labels<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const LAST: u32 = 0x100;
    for _ in 0..MAX_LAYERS {
        if reader.be32()? & LAST == 0 {
            continue;
        }
        if reader.peek()? >> 4 == 0 {
            reader.be32()?;
            return ethernet(reader);
        }
        return Some(by_version(reader.rest()));
    }
    Some(Carried::Other)
}

/// PPP over Ethernet, RFC 2516 §4: only sessions carry packets.
fn pppoe<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const SESSION: u8 = 0;
    let _version = reader.u8()?;
    let code = reader.u8()?;
    reader.be32()?;
    if code == SESSION { ppp(reader) } else { Some(Carried::Other) }
}

/// PPP, RFC 1661 and RFC 1662: address and control may be left out, and a byte of the protocol.
fn ppp<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const ADDRESS_AND_CONTROL: &[u8] = &[0xff, 0x03];
    if reader.rest().starts_with(ADDRESS_AND_CONTROL) {
        reader.be16()?;
    }
    let first = reader.peek()?;
    let protocol = if first & 1 != 0 { reader.u8()?.into() } else { reader.be16()? };
    match protocol {
        0x0021 => Some(Carried::Ip { ethertype: ethertype::IPV4, bytes: reader.rest() }),
        0x0057 => Some(Carried::Ip { ethertype: ethertype::IPV6, bytes: reader.rest() }),
        0x0281 | 0x0283 => labels(reader),
        0x0031 => reader.be16().and_then(|_| ethernet(reader)),
        _ => Some(Carried::Other),
    }
}

/// Frame Relay, RFC 2427: an address of two bytes, control, and a network layer's number.
fn frame_relay<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const IPV4: u8 = 0xcc;
    const IPV6: u8 = 0x8e;
    const SNAP: u8 = 0x80;
    let _address = reader.be16()?;
    let _control = reader.u8()?;
    let mut number = reader.u8()?;
    if number == 0 {
        number = reader.u8()?;
    }
    match number {
        IPV4 => Some(Carried::Ip { ethertype: ethertype::IPV4, bytes: reader.rest() }),
        IPV6 => Some(Carried::Ip { ethertype: ethertype::IPV6, bytes: reader.rest() }),
        SNAP => {
            reader.be24()?;
            let kind = reader.be16()?;
            Some(by_ethertype(kind, reader.rest()))
        }
        _ => Some(Carried::Other),
    }
}

/// A frame of IEEE 802.11 §9.2: data that is not encrypted.
fn wireless<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const DATA: u8 = 2;
    let [control, flags] = reader.array()?;
    let (kind, subtype) = (control >> 2 & 3, control >> 4);
    let is_protected = flags & 0x40 != 0;
    if control & 3 != 0 || kind != DATA || subtype & 0x4 != 0 || is_protected {
        return Some(Carried::Other);
    }
    // Duration, three addresses, sequence; a fourth address between access points.
    reader.take(2 + 18 + 2)?;
    if flags & 0x03 == 0x03 {
        reader.take(6)?;
    }
    // Quality of service, and the field for high throughput behind it.
    if subtype & 0x8 != 0 {
        let quality: [u8; 2] = reader.array()?;
        if flags & 0x80 != 0 {
            reader.take(4)?;
        }
        let is_aggregate = quality[0] & 0x80 != 0;
        if is_aggregate {
            // The first frame: its addresses and its length.
            reader.take(14)?;
        }
    }
    match snap(&mut reader)? {
        Some(kind) => Some(by_ethertype(kind, reader.rest())),
        None => Some(Carried::Other),
    }
}

/// Radiotap, radiotap.org: a header that says its own length, and whether the frame's header was
/// padded to four bytes.
fn radiotap<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    let start = reader;
    reader.be16()?;
    let len = usize::from(reader.le16()?);
    let mut frame = start;
    frame.take(len)?;
    wireless(frame)
}

/// The header of the AVS project: magic number and length.
fn avs<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    let start = reader;
    let _magic = reader.be32()?;
    let len = reader.be32()? as usize;
    let mut frame = start;
    frame.take(len)?;
    wireless(frame)
}

/// Netfilter's log: family, version, then attributes of which one is the packet.
fn nflog<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const PAYLOAD: u16 = 9;
    reader.be32()?;
    loop {
        let len = usize::from(reader.le16()?);
        let kind = reader.le16()? & 0x7fff;
        let value_len = len.checked_sub(4)?;
        if kind == PAYLOAD {
            let there = value_len.min(reader.rest().len());
            return Some(by_version(&reader.rest()[..there]));
        }
        reader.take(value_len.next_multiple_of(4))?;
    }
}

/// Apple's header: its length, whether a packet follows, and the link layer of that.
fn pktap<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    const PACKET: u32 = 1;
    const ENOUGH: usize = 12;
    let start = reader;
    let len = reader.le32()? as usize;
    let kind = reader.le32()?;
    let linktype = u16::try_from(reader.le32()?).ok()?;
    if kind != PACKET || len < ENOUGH {
        return Some(Carried::Other);
    }
    let mut packet = start;
    packet.take(len)?;
    Some(behind_name(linktype, packet.rest()))
}

/// Per-Packet Information: its length, and the link layer of what follows.
fn ppi<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    let start = reader;
    let _version_and_flags = reader.be16()?;
    let len = usize::from(reader.le16()?);
    let linktype = u16::try_from(reader.le32()?).ok()?;
    let mut packet = start;
    packet.take(len.max(8))?;
    Some(behind_name(linktype, packet.rest()))
}

/// What lies behind a header that names the link layer of the packet. One such header inside another
/// would never end.
fn behind_name(linktype: u16, packet: &[u8]) -> Carried<'_> {
    match linktype {
        linktype::PKTAP | linktype::PKTAP_OF_APPLE | linktype::PPI => Carried::Other,
        linktype => strip(linktype, packet),
    }
}

/// OpenBSD's packet filter: a header that says its own length, padded to four bytes.
fn pflog<'a>(mut reader: Reader<'a>) -> Option<Carried<'a>> {
    let len = usize::from(reader.peek()?).next_multiple_of(4);
    reader.take(len)?;
    Some(by_version(reader.rest()))
}

/// IP by the version in its first byte.
pub(super) fn by_version(bytes: &[u8]) -> Carried<'_> {
    let ethertype = match bytes.first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        Some(6) => ethertype::IPV6,
        Some(_) => return Carried::Other,
        None => return Carried::Cut,
    };
    Carried::Ip { ethertype, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: [u8; 3] = [0x45, 1, 2];

    fn behind(header: &[u8]) -> Vec<u8> {
        [header, &IP].concat()
    }

    fn padded(start: &[u8], len: usize) -> Vec<u8> {
        let mut header = start.to_vec();
        header.resize(len, 0);
        header
    }

    #[test]
    fn ip_begins_behind_every_link_layer() {
        let ethernet = |rest: &[u8]| [&[0; 12], rest].concat();
        let sll = [&[0; 14][..], &[8, 0]].concat();
        let data = [&[0x88, 0][..], &[0; 24], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
        let mut pktap = padded(&[108, 0, 0, 0, 1, 0, 0, 0, 1], 108);
        pktap.extend(ethernet(&[8, 0]));
        for (linktype, header) in [
            (linktype::ETHERNET, ethernet(&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0])),
            (linktype::ETHERNET, ethernet(&[0x88, 0x47, 0, 1, 0, 9, 0, 2, 1, 9])),
            (linktype::ETHERNET, ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 5, 0, 0x21])),
            (linktype::ETHERNET, ethernet(&[0, 11, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0])),
            (linktype::LINUX_SLL, sll),
            (linktype::LINUX_SLL2, padded(&[8, 0], 20)),
            (linktype::NULL, vec![2, 0, 0, 0]),
            (linktype::LOOP, vec![0, 0, 0, 2]),
            (linktype::PPP, vec![0xff, 3, 0, 0x21]),
            (linktype::PPP, vec![0x21]),
            (linktype::PPP_WITH_DIRECTION, vec![1, 0, 0x21]),
            (linktype::PPP_ETHER, vec![0x11, 0, 0, 1, 0, 5, 0, 0x21]),
            (linktype::C_HDLC, vec![0x0f, 0, 8, 0]),
            (linktype::FRAME_RELAY, vec![0x18, 0x41, 3, 0xcc]),
            (linktype::IEEE802_11, data.clone()),
            (linktype::RADIOTAP, [&[0, 0, 8, 0, 0, 0, 0, 0][..], &data].concat()),
            (linktype::PKTAP, pktap),
            (linktype::PFLOG, padded(&[61], 64)),
            (linktype::PPI, vec![0, 0, 8, 0, 101, 0, 0, 0]),
            (linktype::SLIP, padded(&[0], 16)),
            (linktype::RAW, vec![]),
        ] {
            let packet = behind(&header);
            let ip = Carried::Ip { ethertype: ethertype::IPV4, bytes: &IP };
            assert_eq!(strip(linktype, &packet), ip, "{linktype} {header:02x?}");
            let cut = &packet[..header.len().saturating_sub(1)];
            assert_eq!(strip(linktype, cut), Carried::Cut, "{linktype} {header:02x?}");
        }
    }

    #[test]
    fn netfilter_logs_have_the_packet_in_an_attribute() {
        let packet = behind(&[2, 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4, 7, 0, 9, 0]);
        let ip = Carried::Ip { ethertype: ethertype::IPV4, bytes: &IP };
        assert_eq!(strip(linktype::NFLOG, &packet), ip);
    }

    #[test]
    fn what_is_not_ip_is_said() {
        let mut arp = vec![0; 12];
        arp.extend([8, 6, 0]);
        assert_eq!(strip(linktype::ETHERNET, &arp), Carried::Other);
        assert_eq!(strip(linktype::RAW, &[0x15]), Carried::Other);
        assert_eq!(strip(147, &[0x45]), Carried::Unsupported);
        assert_eq!(described(147), "147 (for private use)");
        assert_eq!(described(9999), "9999");
    }
}
