//! Frames of every shape, built by hand and independently of the parser under test, and what should
//! become of each.

use super::metrics::{Counts, expect};

const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What should become of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// Counted for those of its ports that are watched.
    Segment {
        /// tcp or udp.
        protocol: &'static str,
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// A SYN without ACK.
        attempt: bool,
    },
    /// Counted as unclassified, for this cause.
    Unclassified(&'static str),
    /// Not counted.
    NotOurs,
}

/// A frame and its outcome.
#[derive(Clone, Debug)]
pub struct Shape {
    /// For the message of a failure.
    pub name: &'static str,
    /// From the first byte of the Ethernet header, without frame check sequence.
    pub frame: Vec<u8>,
    /// What should become of it.
    pub outcome: Outcome,
    /// Whether TC on ingress is given it: the stack takes the outer VLAN tag off before, and drops
    /// what ends within it.
    pub reaches_tc_ingress: bool,
}

impl Shape {
    /// What `times` of it should count.
    pub fn counts(&self, watched: &[u16], interface: &str, direction: &str, times: u64) -> Counts {
        let mut counts = Counts::new();
        let on = [("interface", interface), ("direction", direction)];
        match self.outcome {
            Outcome::NotOurs => {}
            Outcome::Unclassified(cause) => {
                let labels = [on[0], on[1], ("cause", cause)];
                expect(&mut counts, "ghostport_unclassified_packets_total", &labels, times);
            }
            Outcome::Segment { protocol, source, destination, attempt } => {
                let sides =
                    if direction == "ingress" { ["remote", "local"] } else { ["local", "remote"] };
                for (port, side) in [source, destination].into_iter().zip(sides) {
                    if !watched.contains(&port) {
                        continue;
                    }
                    let port = port.to_string();
                    let labels = [on[0], on[1], ("port", port.as_str()), ("side", side)];
                    if attempt {
                        let name = "ghostport_connection_attempts_total";
                        expect(&mut counts, name, &labels, times);
                    }
                    let labels = [&labels[..], &[("protocol", protocol)]].concat();
                    let bytes = times * self.frame.len() as u64;
                    expect(&mut counts, "ghostport_packets_total", &labels, times);
                    expect(&mut counts, "ghostport_bytes_total", &labels, bytes);
                }
            }
        }
        counts
    }
}

/// A UDP datagram over IPv4 in a frame of 60 bytes.
pub fn plain_udp(source: u16, destination: u16) -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4(UDP, &[], 0, &udp(source, destination, 18)))
}

/// A SYN over IPv4.
pub fn syn(source: u16, destination: u16) -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4(TCP, &[], 0, &tcp(source, destination, SYN, 0, 0)))
}

/// The SYN with which a server accepts, over IPv4.
pub fn syn_ack(source: u16, destination: u16) -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4(TCP, &[], 0, &tcp(source, destination, SYN | ACK, 0, 0)))
}

/// Every shape; `first` and `second` are watched, `other` is not.
pub fn shapes(first: u16, second: u16, other: u16) -> Vec<Shape> {
    let mut shapes = Vec::new();
    plain(&mut shapes, first, second, other);
    tagged(&mut shapes, first, second);
    over_ipv4(&mut shapes, first, other);
    over_ipv6(&mut shapes, first, other);
    not_ours(&mut shapes, first, other);
    shapes
}

fn plain(shapes: &mut Vec<Shape>, first: u16, second: u16, other: u16) {
    let tcp4 = |source, destination, flags, options, payload| {
        ethernet(&[], IPV4, &ipv4(TCP, &[], 0, &tcp(source, destination, flags, options, payload)))
    };
    let udp4 = |source, destination, payload| {
        ethernet(&[], IPV4, &ipv4(UDP, &[], 0, &udp(source, destination, payload)))
    };
    let mut add = |name, frame, outcome| shapes.push(shape(name, frame, outcome));
    add("TCP to a watched port", tcp4(other, first, ACK, 12, 100), is_tcp(other, first));
    add("TCP from a watched port", tcp4(first, other, ACK, 0, 1), is_tcp(first, other));
    add("TCP between watched ports", tcp4(first, second, ACK, 0, 7), is_tcp(first, second));
    add("TCP between equal ports", tcp4(first, first, ACK, 0, 7), is_tcp(first, first));
    add("TCP between others", tcp4(other, other, SYN, 0, 0), is_tcp(other, other));
    add("SYN", tcp4(other, first, SYN, 20, 0), is_syn(other, first));
    add("SYN from a watched port", tcp4(first, other, SYN, 20, 0), is_syn(first, other));
    add("SYN between watched ports", tcp4(second, first, SYN, 0, 0), is_syn(second, first));
    add("SYN with ECN", tcp4(other, first, SYN | 0xc0, 20, 0), is_syn(other, first));
    add("SYN with FIN", tcp4(other, first, SYN | 1, 0, 0), is_syn(other, first));
    add("SYN with ACK", tcp4(other, first, SYN | ACK, 20, 0), is_tcp(other, first));
    add("RST", tcp4(other, first, 4, 0, 0), is_tcp(other, first));
    add("UDP to a watched port", udp4(other, first, 1000), is_udp(other, first));
    add("UDP without payload", udp4(other, first, 0), is_udp(other, first));
    add("UDP between watched ports", udp4(second, first, 9), is_udp(second, first));
    add("UDP of a full frame", udp4(other, second, 1472), is_udp(other, second));
    let mut padded = udp4(other, first, 0);
    padded.resize(60, 0);
    add("UDP in a padded frame", padded, is_udp(other, first));
    let v6 = ethernet(&[], IPV6, &ipv6(UDP, &[], &udp(other, first, 33)));
    add("UDP over IPv6", v6, is_udp(other, first));
    let v6 = ethernet(&[], IPV6, &ipv6(TCP, &[], &tcp(other, first, SYN, 20, 0)));
    add("SYN over IPv6", v6, is_syn(other, first));
}

fn tagged(shapes: &mut Vec<Shape>, first: u16, second: u16) {
    let udp4 = ipv4(UDP, &[], 0, &udp(second, first, 64));
    let udp6 = ipv6(UDP, &[(DESTINATION, vec![0; 8])], &udp(second, first, 64));
    let mut add = |name, tags: &[(u16, u16)], kind, network: &[u8], outcome| {
        shapes.push(shape(name, ethernet(tags, kind, network), outcome));
    };
    let (customer, service) = ((VLAN, 7), (SERVICE_VLAN, 0x0fff));
    let ours = is_udp(second, first);
    add("802.1Q", &[customer], IPV4, &udp4, ours);
    add("802.1Q with IPv6", &[customer], IPV6, &udp6, ours);
    add("802.1ad", &[service], IPV4, &udp4, ours);
    add("802.1ad and 802.1Q", &[service, customer], IPV4, &udp4, ours);
    add("802.1ad and 802.1Q with IPv6", &[service, customer], IPV6, &udp6, ours);
    add("two 802.1Q", &[customer, customer], IPV4, &udp4, ours);
    let four = [service, service, customer, customer];
    add("four VLAN tags", &four, IPV4, &udp4, Outcome::Unclassified("vlan_tags"));
    add("802.1Q with something else", &[customer], 0x88cc, &udp4, Outcome::NotOurs);
    let cut = &ethernet(&[customer], IPV4, &udp4)[..16];
    let truncated = shape("802.1Q, truncated", cut.to_vec(), Outcome::Unclassified("truncated"));
    shapes.push(Shape { reaches_tc_ingress: false, ..truncated });
}

fn over_ipv4(shapes: &mut Vec<Shape>, first: u16, other: u16) {
    let segment = udp(other, first, 16);
    let tcp = tcp(other, first, SYN, 0, 0);
    let mut add = |name, network: Vec<u8>, outcome| {
        shapes.push(shape(name, ethernet(&[], IPV4, &network), outcome));
    };
    let ours = is_udp(other, first);
    add("IPv4 with one option", ipv4(UDP, &[1; 4], 0, &segment), ours);
    add("IPv4 with 40 bytes of options", ipv4(UDP, &[1; 40], 0, &segment), ours);
    add("SYN after IPv4 options", ipv4(TCP, &[1; 12], 0, &tcp), is_syn(other, first));
    const MORE: u16 = 0x2000;
    const DO_NOT: u16 = 0x4000;
    add("IPv4 that must not be fragmented", ipv4(UDP, &[], DO_NOT, &segment), ours);
    add("first IPv4 fragment", ipv4(UDP, &[], MORE, &segment), ours);
    let fragment = Outcome::Unclassified("fragment");
    add("middle IPv4 fragment", ipv4(UDP, &[], MORE | 3, &segment), fragment);
    add("last IPv4 fragment", ipv4(TCP, &[], 3, &tcp), fragment);
    add("later fragment of ICMP", ipv4(ICMP, &[], 3, &segment), Outcome::NotOurs);
    let truncated = Outcome::Unclassified("truncated");
    let whole = ipv4(UDP, &[], 0, &segment);
    add("no IPv4 header at all", Vec::new(), truncated);
    add("half an IPv4 header", whole[..19].to_vec(), truncated);
    add("IPv4 options missing", ipv4(UDP, &[1; 40], 0, &segment)[..40].to_vec(), truncated);
    add("half a UDP header", whole[..27].to_vec(), truncated);
    add("half a TCP header", ipv4(TCP, &[], 0, &tcp)[..39].to_vec(), truncated);
    let mut short = whole.clone();
    short[2..4].copy_from_slice(&24_u16.to_be_bytes());
    add("a UDP header beyond the datagram's end", short, truncated);
    let malformed = Outcome::Unclassified("malformed");
    let mut version = whole.clone();
    version[0] = 0x65;
    add("IPv4 with version 6", version, malformed);
    let mut length = whole.clone();
    length[0] = 0x44;
    add("IPv4 with a header of 16 bytes", length, malformed);
}

fn over_ipv6(shapes: &mut Vec<Shape>, first: u16, other: u16) {
    let segment = udp(other, first, 16);
    let mut add = |name, network: Vec<u8>, outcome| {
        shapes.push(shape(name, ethernet(&[], IPV6, &network), outcome));
    };
    let ours = is_udp(other, first);
    let short = || vec![0; 8];
    // The second byte of an extension header is its length in units of eight bytes, less one.
    let long = || {
        let mut header = vec![0; 24];
        header[1] = 2;
        header
    };
    let fragment = |offset: u16, more: u16| {
        let mut header = vec![0; 8];
        header[2..4].copy_from_slice(&(offset << 3 | more).to_be_bytes());
        header
    };
    // Its length is in units of four bytes, less two.
    let authentication = || {
        let mut header = vec![0; 24];
        header[1] = 4;
        header
    };
    add("hop-by-hop options", ipv6(UDP, &[(HOP_BY_HOP, short())], &segment), ours);
    add("long hop-by-hop options", ipv6(UDP, &[(HOP_BY_HOP, long())], &segment), ours);
    add("routing header", ipv6(UDP, &[(ROUTING, long())], &segment), ours);
    add("destination options", ipv6(UDP, &[(DESTINATION, short())], &segment), ours);
    add("authentication header", ipv6(UDP, &[(AUTHENTICATION, authentication())], &segment), ours);
    let tcp = tcp(other, first, SYN, 0, 0);
    let chain = [
        (HOP_BY_HOP, short()),
        (DESTINATION, long()),
        (ROUTING, long()),
        (FRAGMENT, fragment(0, 1)),
        (AUTHENTICATION, authentication()),
        (DESTINATION, short()),
    ];
    add("SYN after six extension headers", ipv6(TCP, &chain, &tcp), is_syn(other, first));
    let eight = vec![(DESTINATION, short()); 8];
    add("eight extension headers", ipv6(UDP, &eight, &segment), ours);
    let beyond = Outcome::Unclassified("extension_headers");
    let twenty = vec![(DESTINATION, short()); 20];
    add("twenty extension headers", ipv6(UDP, &twenty, &segment), beyond);
    add("first IPv6 fragment", ipv6(UDP, &[(FRAGMENT, fragment(0, 1))], &segment), ours);
    add("atomic IPv6 fragment", ipv6(UDP, &[(FRAGMENT, fragment(0, 0))], &segment), ours);
    let later = Outcome::Unclassified("fragment");
    add("middle IPv6 fragment", ipv6(UDP, &[(FRAGMENT, fragment(5, 1))], &segment), later);
    add("last IPv6 fragment", ipv6(TCP, &[(FRAGMENT, fragment(5, 0))], &tcp), later);
    let icmp = ipv6(58, &[(FRAGMENT, fragment(5, 0))], &segment);
    add("later fragment of ICMPv6", icmp, Outcome::NotOurs);
    let truncated = Outcome::Unclassified("truncated");
    let whole = ipv6(UDP, &[(HOP_BY_HOP, long())], &segment);
    add("half an IPv6 header", whole[..39].to_vec(), truncated);
    add("no extension header", whole[..40].to_vec(), truncated);
    add("half an extension header", whole[..50].to_vec(), truncated);
    add("half a UDP header after an extension", whole[..71].to_vec(), truncated);
    let half = ipv6(UDP, &[(FRAGMENT, fragment(0, 1))], &segment)[..44].to_vec();
    add("half a fragment header", half, truncated);
    let mut version = whole.clone();
    version[0] = 0x40;
    add("IPv6 with version 4", version, Outcome::Unclassified("malformed"));
    add("IPv6 without next header", ipv6(59, &[], &segment), Outcome::NotOurs);
    add("ICMPv6", ipv6(58, &[(HOP_BY_HOP, short())], &segment), Outcome::NotOurs);
}

fn not_ours(shapes: &mut Vec<Shape>, first: u16, other: u16) {
    let network = ipv4(UDP, &[], 0, &udp(other, first, 16));
    let mut add = |name, kind, network: &[u8]| {
        shapes.push(shape(name, ethernet(&[], kind, network), Outcome::NotOurs));
    };
    add("ARP", 0x0806, &[0; 28]);
    add("LLDP that looks like IPv4 inside", 0x88cc, &network);
    add("ICMP that looks like UDP inside", IPV4, &ipv4(ICMP, &[], 0, &udp(other, first, 16)));
    add("IPv4 in IPv4", IPV4, &ipv4(4, &[], 0, &network));
}

fn shape(name: &'static str, frame: Vec<u8>, outcome: Outcome) -> Shape {
    Shape { name, frame, outcome, reaches_tc_ingress: true }
}

const fn is_tcp(source: u16, destination: u16) -> Outcome {
    Outcome::Segment { protocol: "tcp", source, destination, attempt: false }
}

const fn is_syn(source: u16, destination: u16) -> Outcome {
    Outcome::Segment { protocol: "tcp", source, destination, attempt: true }
}

const fn is_udp(source: u16, destination: u16) -> Outcome {
    Outcome::Segment { protocol: "udp", source, destination, attempt: false }
}

fn ethernet(tags: &[(u16, u16)], kind: u16, network: &[u8]) -> Vec<u8> {
    let mut frame = [DESTINATION_MAC, SOURCE_MAC].concat();
    for (protocol, id) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(network);
    frame
}

/// The destination address is unassigned, so that no host answers.
fn ipv4(protocol: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0];
    packet.extend(((header_len + payload.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// The next header of each extension is its successor's kind.
fn ipv6(protocol: u8, extensions: &[(u8, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    let kinds: Vec<u8> = extensions.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
    let extensions_len: usize = extensions.iter().map(|(_, header)| header.len()).sum();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((extensions_len + payload.len()) as u16).to_be_bytes());
    packet.extend([kinds[0], 64]);
    for last in [1, 2] {
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    for ((_, header), next) in extensions.iter().zip(&kinds[1..]) {
        packet.push(*next);
        packet.extend(&header[1..]);
    }
    packet.extend(payload);
    packet
}

fn udp(source: u16, destination: u16, payload_len: usize) -> Vec<u8> {
    let mut datagram = ports(source, destination);
    datagram.extend((8 + payload_len as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.resize(8 + payload_len, 0xa5);
    datagram
}

fn tcp(source: u16, destination: u16, flags: u8, options_len: u8, payload_len: usize) -> Vec<u8> {
    let mut segment = ports(source, destination);
    segment.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    segment.extend([((20 + options_len) / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.resize(20 + usize::from(options_len), 1);
    segment.resize(20 + usize::from(options_len) + payload_len, 0xa5);
    segment
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}
