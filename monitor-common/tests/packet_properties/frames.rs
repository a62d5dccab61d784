//! Frames as they come off a wire: described by a [`Frame`], written by etherparse, so that the
//! bytes under test are not of our own making.

use std::ops::RangeInclusive;

use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, SingleVlanHeader, TcpHeader, UdpHeader,
    VlanId,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// One frame, from its Ethernet header to its padding.
#[derive(Clone, Debug)]
pub struct Frame {
    pub tags: Vec<Tag>,
    pub network: Network,
    pub transport: Transport,
    pub payload: Vec<u8>,
    /// What a NIC appends to reach the shortest length of an Ethernet frame.
    pub padding: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub enum Tag {
    Customer,
    Service,
}

#[derive(Clone, Debug)]
pub enum Network {
    Ipv4 { options: Vec<u8>, fragment: Option<Fragment> },
    Ipv6 { extensions: Vec<Extension> },
    Arp(Vec<u8>),
}

/// Offset in units of eight bytes, and whether more fragments follow.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    pub offset: u16,
    pub more: bool,
}

/// An IPv6 extension header and what is in it.
#[derive(Clone, Debug)]
pub enum Extension {
    HopByHop(Vec<u8>),
    Routing(Vec<u8>),
    Destination(Vec<u8>),
    Fragment(Fragment),
    Authentication(Vec<u8>),
}

#[derive(Clone, Debug)]
pub enum Transport {
    Tcp {
        ports: [u16; 2],
        flags: u8,
        options: Vec<u8>,
    },
    Udp {
        ports: [u16; 2],
    },
    /// An echo request of either version.
    Icmp,
}

impl Frame {
    /// The frame on the wire, without its check sequence.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes_without_padding();
        bytes.extend(&self.padding);
        bytes
    }

    pub fn bytes_without_padding(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_link(&mut bytes);
        let body = self.transport.bytes(&self.payload, self.is_ipv6());
        match &self.network {
            Network::Ipv4 { options, fragment } => {
                write_ipv4(&mut bytes, options, *fragment, self.transport.number(false), &body);
            }
            Network::Ipv6 { extensions } => {
                write_ipv6(&mut bytes, extensions, self.transport.number(true), &body);
            }
            Network::Arp(body) => bytes.extend(body),
        }
        bytes
    }

    /// Bytes before the IP header.
    pub fn link_len(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub fn ethertype(&self) -> u16 {
        match self.network {
            Network::Ipv4 { .. } => 0x0800,
            Network::Ipv6 { .. } => 0x86dd,
            Network::Arp(_) => 0x0806,
        }
    }

    fn is_ipv6(&self) -> bool {
        matches!(self.network, Network::Ipv6 { .. })
    }

    fn write_link(&self, bytes: &mut Vec<u8>) {
        let inner = [EtherType(self.ethertype())];
        let mut types = self.tags.iter().map(|tag| tag.ethertype()).chain(inner);
        let ether_type = types.next().unwrap();
        let ethernet = Ethernet2Header { source: [2; 6], destination: [4; 6], ether_type };
        ethernet.write(bytes).unwrap();
        for ether_type in types {
            let vlan_id = VlanId::try_new(100).unwrap();
            let tag = SingleVlanHeader { vlan_id, ether_type, ..Default::default() };
            tag.write(bytes).unwrap();
        }
    }
}

impl Tag {
    fn ethertype(self) -> EtherType {
        match self {
            Self::Customer => EtherType(0x8100),
            Self::Service => EtherType(0x88a8),
        }
    }
}

fn write_ipv4(
    bytes: &mut Vec<u8>,
    options: &[u8],
    fragment: Option<Fragment>,
    protocol: IpNumber,
    body: &[u8],
) {
    let fragment = fragment.unwrap_or(Fragment { offset: 0, more: false });
    let mut header = Ipv4Header {
        total_len: (20 + options.len() + body.len()) as u16,
        fragment_offset: IpFragOffset::try_new(fragment.offset).unwrap(),
        more_fragments: fragment.more,
        time_to_live: 64,
        protocol,
        source: [192, 0, 2, 1],
        destination: [192, 0, 2, 2],
        options: Ipv4Options::try_from(options).unwrap(),
        ..Default::default()
    };
    header.header_checksum = header.calc_header_checksum();
    header.write_raw(bytes).unwrap();
    bytes.extend(body);
}

fn write_ipv6(bytes: &mut Vec<u8>, extensions: &[Extension], last: IpNumber, body: &[u8]) {
    let mut numbers = extensions.iter().map(Extension::number).chain([last]);
    let next_header = numbers.next().unwrap();
    let mut chain = Vec::new();
    for (extension, next) in extensions.iter().zip(numbers) {
        extension.write(&mut chain, next);
    }
    let header = Ipv6Header {
        payload_length: (chain.len() + body.len()) as u16,
        next_header,
        hop_limit: 64,
        ..Default::default()
    };
    header.write(bytes).unwrap();
    bytes.extend(chain);
    bytes.extend(body);
}

impl Extension {
    fn number(&self) -> IpNumber {
        match self {
            Self::HopByHop(_) => IpNumber::IPV6_HEADER_HOP_BY_HOP,
            Self::Routing(_) => IpNumber::IPV6_ROUTE_HEADER,
            Self::Destination(_) => IpNumber::IPV6_DESTINATION_OPTIONS,
            Self::Fragment(_) => IpNumber::IPV6_FRAGMENTATION_HEADER,
            Self::Authentication(_) => IpNumber::AUTHENTICATION_HEADER,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>, next: IpNumber) {
        match self {
            Self::HopByHop(body) | Self::Routing(body) | Self::Destination(body) => {
                Ipv6RawExtHeader::new_raw(next, body).unwrap().write(bytes).unwrap();
            }
            Self::Fragment(Fragment { offset, more }) => {
                let offset = IpFragOffset::try_new(*offset).unwrap();
                Ipv6FragmentHeader::new(next, offset, *more, 7).write(bytes).unwrap();
            }
            Self::Authentication(icv) => {
                IpAuthHeader::new(next, 1, 2, icv).unwrap().write(bytes).unwrap();
            }
        }
    }
}

impl Transport {
    fn number(&self, ipv6: bool) -> IpNumber {
        match (self, ipv6) {
            (Self::Tcp { .. }, _) => IpNumber::TCP,
            (Self::Udp { .. }, _) => IpNumber::UDP,
            (Self::Icmp, false) => IpNumber::ICMP,
            (Self::Icmp, true) => IpNumber::IPV6_ICMP,
        }
    }

    fn bytes(&self, payload: &[u8], ipv6: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Tcp { ports: [source, destination], flags, options } => {
                let flag = |bit: u8| flags & 1 << bit != 0;
                let mut header = TcpHeader::new(*source, *destination, 1, 1024);
                (header.fin, header.syn, header.rst) = (flag(0), flag(1), flag(2));
                (header.psh, header.ack, header.urg) = (flag(3), flag(4), flag(5));
                (header.ece, header.cwr) = (flag(6), flag(7));
                header.set_options_raw(options).unwrap();
                header.write(&mut bytes).unwrap();
            }
            Self::Udp { ports: [source, destination] } => {
                let (source_port, destination_port) = (*source, *destination);
                let length = (8 + payload.len()) as u16;
                let header = UdpHeader { source_port, destination_port, length, checksum: 0 };
                header.write(&mut bytes).unwrap();
            }
            Self::Icmp => bytes.extend([if ipv6 { 128 } else { 8 }, 0, 0, 0, 0, 1, 0, 1]),
        }
        bytes.extend(payload);
        bytes
    }
}

/// `count` units of `unit` bytes, less the first `less`.
fn body(units: RangeInclusive<usize>, unit: usize, less: usize) -> impl Strategy<Value = Vec<u8>> {
    units.prop_flat_map(move |units| vec(any::<u8>(), units * unit - less))
}

fn fragment() -> impl Strategy<Value = Fragment> {
    let offset = prop_oneof![2 => Just(0), 1 => 1..0x2000_u16];
    (offset, any::<bool>()).prop_map(|(offset, more)| Fragment { offset, more })
}

/// Any extension header but hop-by-hop, which may only come first.
fn extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        3 => body(1..=4, 8, 2).prop_map(Extension::Routing),
        3 => body(1..=4, 8, 2).prop_map(Extension::Destination),
        2 => body(0..=5, 4, 0).prop_map(Extension::Authentication),
        1 => fragment().prop_map(Extension::Fragment),
    ]
}

/// Up to `most` extension headers.
fn extensions(most: usize) -> impl Strategy<Value = Vec<Extension>> {
    let first = option::of(body(1..=4, 8, 2).prop_map(Extension::HopByHop));
    (first, vec(extension(), 0..=most))
        .prop_map(move |(first, rest)| first.into_iter().chain(rest).take(most).collect())
}

pub fn network(most_extensions: usize) -> impl Strategy<Value = Network> {
    let arp = vec![
        0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2,
    ];
    let ipv4 = (body(0..=10, 4, 0), option::weighted(0.3, fragment()));
    prop_oneof![
        8 => ipv4.prop_map(|(options, fragment)| Network::Ipv4 { options, fragment }),
        8 => extensions(most_extensions).prop_map(|extensions| Network::Ipv6 { extensions }),
        1 => Just(Network::Arp(arp)),
    ]
}

pub fn transport() -> impl Strategy<Value = Transport> {
    let ports = || any::<[u16; 2]>();
    let tcp = (ports(), any::<u8>(), body(0..=10, 4, 0));
    prop_oneof![
        4 => tcp.prop_map(|(ports, flags, options)| Transport::Tcp { ports, flags, options }),
        4 => ports().prop_map(|ports| Transport::Udp { ports }),
        1 => Just(Transport::Icmp),
    ]
}

pub fn tags(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Tag>> {
    vec(select(vec![Tag::Customer, Tag::Service]), count)
}

/// Any frame within the bounds of the parser.
pub fn frame() -> impl Strategy<Value = Frame> {
    let bytes = || vec(any::<u8>(), 0..64);
    let parts = (tags(0..=2), network(8), transport(), bytes(), bytes());
    parts.prop_map(|(tags, network, transport, payload, padding)| Frame {
        tags,
        network,
        transport,
        payload,
        padding,
    })
}

/// Positions of a frame and what is done to the bytes there.
pub fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..8)
}

/// Extension headers, none of which is a later fragment, exactly `count`.
pub fn walkable_extensions(count: usize) -> impl Strategy<Value = Vec<Extension>> {
    let later = |extension: &Extension| matches!(extension, Extension::Fragment(f) if f.offset > 0);
    vec(extension().prop_filter("a later fragment ends the walk", move |e| !later(e)), count)
}
