//! TCP segments and UDP datagrams of a capture, by the parser that the kernel side counts with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use monitor_common::{
    flow::Protocol,
    packet::{Unclassified, ethertype, headers_len, parse_ip},
};

use crate::scanner::{Ipv4Header, Stray, Syn};

/// A segment or datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// The payload, as far as it was captured.
    pub(super) payload: &'a [u8],
    /// Bytes of the payload on the wire.
    pub(super) payload_len: usize,
    pub(super) ipv4: Option<Ipv4Header>,
    pub(super) tcp: Option<Tcp<'a>>,
}

/// What TCP says beside the payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp<'a> {
    flags: u8,
    pub(super) sequence: u32,
    pub(super) window: u16,
    pub(super) options: &'a [u8],
}

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPacket {
    /// Neither TCP nor UDP.
    NotOurs,
    Unclassified(Unclassified),
}

const TRUNCATED: NoPacket = NoPacket::Unclassified(Unclassified::Truncated);

impl<'a> Packet<'a> {
    /// Parses an IP packet.
    pub(super) fn parse(ip: &'a [u8], ethertype: u16) -> Result<Self, NoPacket> {
        let parsed = parse_ip(ip, ethertype);
        if let Some(cause) = parsed.unclassified() {
            return Err(NoPacket::Unclassified(cause));
        }
        // Verdicts are on payloads of TCP and UDP.
        let segment = *parsed
            .segment()
            .filter(|segment| !segment.protocol.is_rare())
            .ok_or(NoPacket::NotOurs)?;
        let (source, destination) = addresses(ip, ethertype).ok_or(TRUNCATED)?;
        let transport = ip.get(segment.offset as usize..).ok_or(TRUNCATED)?;
        let header = headers_len(segment.protocol, 0, segment.control) as usize;
        let available = transport.get(header..).unwrap_or_default();
        let promised =
            ip_len(ip, ethertype).map(|len| len.saturating_sub(segment.offset as usize + header));
        let payload_len = match segment.protocol {
            // A datagram says its own length, which a fragment does not change.
            Protocol::Udp => udp_payload_len(transport).or(promised),
            _ => promised,
        };
        let payload_len = payload_len.unwrap_or(available.len());
        let captured = promised.unwrap_or(available.len()).min(payload_len).min(available.len());
        Ok(Self {
            protocol: segment.protocol,
            source: SocketAddr::new(source, segment.source.number()),
            destination: SocketAddr::new(destination, segment.destination.number()),
            payload: &available[..captured],
            payload_len,
            ipv4: ipv4_header(ip, destination),
            tcp: match segment.protocol {
                Protocol::Tcp => Tcp::read(transport, header),
                _ => None,
            },
        })
    }

    /// The connection attempt that it is, if it is one.
    pub(super) fn attempt(&self) -> Option<Syn<'a>> {
        let tcp = self.tcp.filter(Tcp::is_attempt)?;
        Some(Syn {
            ipv4: self.ipv4,
            destination_port: self.destination.port(),
            sequence: tcp.sequence,
            window: tcp.window,
            options: tcp.options,
        })
    }

    /// The segment without payload that it is, if it is neither a SYN nor an answer to one.
    pub(super) fn stray(&self) -> Option<Stray<'a>> {
        let tcp = self.tcp.filter(|tcp| !tcp.is_attempt() && !tcp.is_acceptance())?;
        (self.payload_len == 0).then_some(Stray {
            ipv4: self.ipv4,
            flags: tcp.flags,
            window: tcp.window,
            options: tcp.options,
        })
    }
}

impl<'a> Tcp<'a> {
    const FIN_OR_RST: u8 = 0x05;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    fn read(header: &'a [u8], len: usize) -> Option<Self> {
        let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, _, flags, w0, w1, ..] = *header else {
            return None;
        };
        let options = header.get(20..len).unwrap_or_default();
        Some(Self {
            flags,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            window: u16::from_be_bytes([w0, w1]),
            options,
        })
    }

    /// The first segment of the end that opens a connection.
    pub(super) const fn is_attempt(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK | Self::FIN_OR_RST) == Self::SYN
    }

    /// The answer to it.
    pub(super) const fn is_acceptance(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK | Self::RST) == Self::SYN | Self::ACK
    }

    /// Says that something has arrived, and goes on.
    pub(super) const fn acknowledges(&self) -> bool {
        self.flags & (Self::ACK | Self::RST) == Self::ACK
    }
}

fn addresses(ip: &[u8], ethertype: u16) -> Option<(IpAddr, IpAddr)> {
    if ethertype == ethertype::IPV4 {
        let pair: &[u8; 8] = ip.get(12..)?.first_chunk()?;
        let [a, b, c, d, e, f, g, h] = *pair;
        return Some((Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into()));
    }
    let (source, rest) = ip.get(8..)?.split_first_chunk::<16>()?;
    let destination = rest.first_chunk::<16>()?;
    Some((Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into()))
}

/// Bytes of the packet by its own header; `None` where that says nothing, as in super-packets.
fn ip_len(ip: &[u8], ethertype: u16) -> Option<usize> {
    let (at, before) = if ethertype == ethertype::IPV4 { (2, 0) } else { (4, 40) };
    let len: &[u8; 2] = ip.get(at..)?.first_chunk()?;
    match u16::from_be_bytes(*len) {
        0 => None,
        len => Some(usize::from(len) + before),
    }
}

fn udp_payload_len(header: &[u8]) -> Option<usize> {
    let len: &[u8; 2] = header.get(4..)?.first_chunk()?;
    usize::from(u16::from_be_bytes(*len)).checked_sub(8)
}

fn ipv4_header(ip: &[u8], destination: IpAddr) -> Option<Ipv4Header> {
    let IpAddr::V4(destination) = destination else { return None };
    let [_, _, _, _, high, low, _, _, ttl, ..] = *ip else { return None };
    Some(Ipv4Header { id: u16::from_be_bytes([high, low]), ttl, destination })
}
