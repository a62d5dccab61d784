//! The frames that are sent.

use super::network::{
    RECEIVER, RECEIVER_IPV6, RECEIVER_MAC, SENDER, SENDER_IPV6, SENDER_MAC, UNWATCHED,
};

/// So a packet hits one watched port at most, however many are watched.
const SOURCE: u16 = UNWATCHED;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const TCP: u8 = 6;

/// An ARP request, as an example of what is not IP.
pub(super) fn arp() -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.resize(46, 0);
    ethernet(&[], 0x0806, &body)
}

pub(super) fn udp(destination: u16) -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4(UDP, &udp_datagram(destination)))
}

pub(super) fn tcp(destination: u16) -> Vec<u8> {
    let mut segment = [SOURCE.to_be_bytes(), destination.to_be_bytes()].concat();
    // Sequence and acknowledgement; length and ACK; window, checksum, urgent pointer.
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 4, 0, 0, 0, 0, 0]);
    ethernet(&[], IPV4, &ipv4(TCP, &segment))
}

pub(super) fn tagged_udp(destination: u16) -> Vec<u8> {
    ethernet(&[0x8100], IPV4, &ipv4(UDP, &udp_datagram(destination)))
}

/// IPv6 with hop-by-hop, routing and destination headers, eight bytes each.
pub(super) fn ipv6_with_extensions(destination: u16) -> Vec<u8> {
    const CHAIN: [u8; 4] = [0, 43, 60, UDP];
    let mut payload = Vec::new();
    for next in &CHAIN[1..] {
        payload.extend([*next, 0, 1, 4, 0, 0, 0, 0]);
    }
    payload.extend(udp_datagram(destination));
    ethernet(&[], IPV6, &ipv6(CHAIN[0], &payload))
}

pub(super) fn ipv6_udp(destination: u16) -> Vec<u8> {
    ethernet(&[], IPV6, &ipv6(UDP, &udp_datagram(destination)))
}

fn udp_datagram(destination: u16) -> Vec<u8> {
    const PAYLOAD: [u8; 18] = [0; 18];
    let mut datagram = [SOURCE.to_be_bytes(), destination.to_be_bytes()].concat();
    datagram.extend((8 + PAYLOAD.len() as u16).to_be_bytes());
    // No checksum, RFC 768.
    datagram.extend([0, 0]);
    datagram.extend(PAYLOAD);
    datagram
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(SENDER);
    packet.extend(RECEIVER);
    let checksum = checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(SENDER_IPV6.octets());
    packet.extend(RECEIVER_IPV6.octets());
    packet.extend(payload);
    packet
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    const TAG: [u8; 2] = [0, 100];
    let mut frame = [RECEIVER_MAC, SENDER_MAC].concat();
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(TAG);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}
