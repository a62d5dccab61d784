//! Properties of the packet parser, on any bytes and on frames that etherparse wrote, with
//! etherparse as the second opinion.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod frames;

use std::cell::{Cell, RefCell};

use etherparse::{
    IpNumber, Ipv6ExtensionSlice, NetSlice, SlicedPacket, TcpHeaderSlice, UdpHeaderSlice,
};
use frames::{Frame, Network, Transport};
use monitor_common::{
    flow::Protocol,
    packet::{
        MAX_EXTENSION_HEADERS, MAX_VLAN_TAGS, PackedSegment, PacketBytes, Parsed, Segment,
        Unclassified, Words, parse_ethernet, parse_ip, parse_plain,
    },
};
use proptest::{collection::vec, prelude::*};

/// Every header there can be at most: Ethernet, tags, IP, extension headers, transport.
const MAX_READS: usize = 1 + MAX_VLAN_TAGS + 1 + MAX_EXTENSION_HEADERS + 1;

/// Bytes that keep account of how they are read.
struct Watched<'a> {
    bytes: &'a [u8],
    reads: Cell<usize>,
    /// Furthest byte that was handed out.
    end: Cell<usize>,
    refused: RefCell<Vec<usize>>,
}

impl<'a> Watched<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let refused = RefCell::new(Vec::new());
        Self { bytes, reads: Cell::new(0), end: Cell::new(0), refused }
    }

    /// What must hold after every parse of anything.
    fn check(&self, parsed: Parsed) -> Parsed {
        assert!(self.reads.get() <= MAX_READS, "{} reads", self.reads.get());
        assert!(self.end.get() <= self.bytes.len());
        assert!(parsed.segment().is_none() || parsed.unclassified().is_none());
        let refused = self.refused.borrow();
        assert!(refused.len() <= 1, "went on after the end: {refused:?}");
        let truncated = parsed.unclassified() == Some(Unclassified::Truncated);
        assert!(truncated || refused.is_empty(), "past the end, yet {parsed:?}");
        parsed
    }
}

impl PacketBytes for Watched<'_> {
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        self.reads.set(self.reads.get() + 1);
        let found = self.bytes.words(offset, scratch);
        match found {
            Some(_) => self.end.set(self.end.get().max(offset + 2 * N)),
            None => self.refused.borrow_mut().push(offset),
        }
        found
    }
}

fn ethernet(bytes: &[u8]) -> Parsed {
    let watched = Watched::new(bytes);
    let parsed = watched.check(parse_ethernet(&watched));
    if let Some(segment) = parse_plain(&Watched::new(bytes)) {
        assert_eq!(Some(&segment), parsed.segment(), "the two parsers differ");
    }
    parsed
}

fn ip(bytes: &[u8], ethertype: u16) -> Parsed {
    let watched = Watched::new(bytes);
    watched.check(parse_ip(&watched, ethertype))
}

/// What a parser says, in a form that two of them share.
#[derive(Debug, PartialEq)]
enum Opinion {
    Segment(Facts),
    NotOurs,
    Unclassified(Unclassified),
}

/// What is to be known of a transport header.
#[derive(Debug, PartialEq)]
struct Facts {
    protocol: Protocol,
    source: u16,
    destination: u16,
    connection_attempt: bool,
    headers_len: u32,
}

impl From<&Segment> for Facts {
    fn from(segment: &Segment) -> Self {
        // What the hooks hand to each other says the same.
        let packed = PackedSegment::of(segment, 0, 1);
        assert_eq!((packed.protocol(), packed.offset()), (segment.protocol, segment.offset));
        assert_eq!((packed.source(), packed.destination()), (segment.source, segment.destination));
        assert_eq!(packed.network(), segment.network);
        assert!(!packed.source_is_watched() && packed.destination_is_watched());
        Self {
            protocol: segment.protocol,
            source: segment.source.number(),
            destination: segment.destination.number(),
            connection_attempt: packed.is_connection_attempt(),
            headers_len: packed.headers_len(),
        }
    }
}

fn ours(parsed: &Parsed) -> Opinion {
    match (parsed.segment(), parsed.unclassified()) {
        (Some(segment), None) => Opinion::Segment(segment.into()),
        (None, Some(cause)) => Opinion::Unclassified(cause),
        (None, None) => Opinion::NotOurs,
        (Some(_), Some(_)) => unreachable!("checked with every parse"),
    }
}

/// Etherparse's opinion of a whole frame.
fn theirs(frame: &[u8]) -> Opinion {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(network) = &packet.net else { return Opinion::NotOurs };
    let fragment = match network {
        NetSlice::Ipv4(ip) => {
            let offset = ip.header().fragments_offset().value();
            (offset != 0).then(|| ip.payload().ip_number)
        }
        NetSlice::Ipv6(ip) => {
            let mut extensions = ip.extensions().clone().into_iter();
            extensions.find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(header) if header.fragment_offset().value() != 0 => {
                    Some(header.next_header())
                }
                _ => None,
            })
        }
        NetSlice::Arp(_) => return Opinion::NotOurs,
    };
    if let Some(next) = fragment {
        return if next == IpNumber::TCP || next == IpNumber::UDP || next.is_ipv6_ext_header_value()
        {
            Opinion::Unclassified(Unclassified::Fragment)
        } else {
            Opinion::NotOurs
        };
    }
    let Some(inner) = packet.ip_payload() else { return Opinion::NotOurs };
    let offset = inner.payload.as_ptr() as usize - frame.as_ptr() as usize;
    match inner.ip_number {
        IpNumber::TCP => {
            let header = TcpHeaderSlice::from_slice(inner.payload).unwrap();
            Opinion::Segment(Facts {
                protocol: Protocol::Tcp,
                source: header.source_port(),
                destination: header.destination_port(),
                connection_attempt: header.syn() && !header.ack(),
                headers_len: (offset + header.slice().len()) as u32,
            })
        }
        IpNumber::UDP => {
            let header = UdpHeaderSlice::from_slice(inner.payload).unwrap();
            Opinion::Segment(Facts {
                protocol: Protocol::Udp,
                source: header.source_port(),
                destination: header.destination_port(),
                connection_attempt: false,
                headers_len: (offset + header.slice().len()) as u32,
            })
        }
        _ => Opinion::NotOurs,
    }
}

#[test]
fn a_slice_hands_out_no_word_that_is_not_whole_and_inside() {
    let bytes = [1, 2, 3, 4, 5];
    let words = |offset| bytes.words(offset, &mut [0; 2]).map(|words| words.map(u16::from_be));
    assert_eq!(words(0), Some([0x0102, 0x0304]));
    assert_eq!(words(1), Some([0x0203, 0x0405]));
    assert_eq!([2, 5, 6, usize::MAX].map(words), [None; 4]);
}

fn plain(network: Network, transport: Transport) -> Frame {
    Frame { tags: Vec::new(), network, transport, payload: Vec::new(), padding: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 2000 }))]

    #[test]
    fn any_bytes_are_parsed_within_their_bounds(bytes in vec(any::<u8>(), 0..200)) {
        ethernet(&bytes);
    }

    /// Random bytes rarely get past the ethertype; these always do.
    #[test]
    fn any_bytes_after_any_ethertype_are_parsed_within_their_bounds(
        ethertype in prop::sample::select(vec![0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806]),
        version in prop::sample::select(vec![0x40, 0x60]),
        mut bytes in vec(any::<u8>(), 1..200),
    ) {
        bytes[0] = bytes[0] & 0x0f | version;
        ip(&bytes, ethertype);
        let mut frame = vec![0; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(bytes);
        ethernet(&frame);
    }

    #[test]
    fn frames_mean_what_etherparse_says(frame in frames::frame()) {
        let bytes = frame.bytes();
        prop_assert_eq!(ours(&ethernet(&bytes)), theirs(&bytes));
    }

    #[test]
    fn padding_means_nothing(frame in frames::frame()) {
        prop_assert_eq!(ethernet(&frame.bytes()), ethernet(&frame.bytes_without_padding()));
    }

    #[test]
    fn packets_without_a_link_header_mean_the_same(frame in frames::frame()) {
        let bytes = frame.bytes();
        let link_len = frame.link_len();
        let mut expected = ours(&ethernet(&bytes));
        if let Opinion::Segment(segment) = &mut expected {
            segment.headers_len -= link_len as u32;
        }
        prop_assert_eq!(ours(&ip(&bytes[link_len..], frame.ethertype())), expected);
    }

    /// A frame cut short is truncated, or means what it meant; it never means something else.
    #[test]
    fn every_truncation_is_truncated_or_means_the_same(frame in frames::frame()) {
        let bytes = frame.bytes();
        let whole = ethernet(&bytes);
        let mut was_truncated = true;
        for len in 0..bytes.len() {
            let cut = ethernet(&bytes[..len]);
            let truncated = cut.unclassified() == Some(Unclassified::Truncated);
            prop_assert!(truncated || cut == whole, "{cut:?} instead of {whole:?} at {len}");
            prop_assert!(was_truncated || !truncated, "known with {}, not with {len}", len - 1);
            was_truncated = truncated;
        }
    }

    /// An IP header that promises less than a transport header has none, whatever follows.
    #[test]
    fn ports_are_not_read_from_padding(
        mut frame in frames::frame(),
        kept in any::<prop::sample::Index>(),
    ) {
        let header_len = match frame.transport {
            Transport::Tcp { .. } => 20,
            Transport::Udp { .. } => 8,
            Transport::Icmp => return Ok(()),
        };
        frame.payload.clear();
        let mut bytes = frame.bytes();
        let unpadded = frame.bytes_without_padding().len();
        let Opinion::Segment(segment) = ours(&ethernet(&bytes)) else { return Ok(()) };
        // Where the transport header starts, and how much of it is kept.
        let transport_len = match &frame.transport {
            Transport::Tcp { options, .. } => 20 + options.len(),
            _ => header_len,
        };
        prop_assert_eq!(segment.headers_len as usize, unpadded);
        let promised = unpadded - transport_len + kept.index(header_len) - frame.link_len();
        let link_len = frame.link_len();
        let (field, value) = match frame.network {
            Network::Ipv4 { .. } => (link_len + 2, promised as u16),
            // A length of 0 says nothing: RFC 2675.
            Network::Ipv6 { .. } if promised == 40 => return Ok(()),
            Network::Ipv6 { .. } => (link_len + 4, (promised - 40) as u16),
            Network::Arp(_) => return Ok(()),
        };
        bytes[field..field + 2].copy_from_slice(&value.to_be_bytes());
        prop_assert_eq!(ours(&ethernet(&bytes)), Opinion::Unclassified(Unclassified::Truncated));
    }

    #[test]
    fn damaged_frames_are_parsed_within_their_bounds(
        frame in frames::frame(),
        damage in frames::damage(),
    ) {
        let mut bytes = frame.bytes();
        for (position, mask) in damage {
            let position = position.index(bytes.len());
            bytes[position] ^= mask;
        }
        ethernet(&bytes);
        ip(&bytes[frame.link_len()..], frame.ethertype());
    }

    #[test]
    fn tags_are_walked_up_to_the_bound(
        mut frame in frames::frame(),
        tags in frames::tags(0..=MAX_VLAN_TAGS + 2),
    ) {
        frame.tags.clear();
        let mut expected = ours(&ethernet(&frame.bytes()));
        if let Opinion::Segment(segment) = &mut expected {
            segment.headers_len += 4 * tags.len() as u32;
        }
        if tags.len() > MAX_VLAN_TAGS {
            expected = Opinion::Unclassified(Unclassified::VlanTags);
        }
        frame.tags = tags;
        prop_assert_eq!(ours(&ethernet(&frame.bytes())), expected);
    }

    #[test]
    fn extension_headers_are_walked_up_to_the_bound(
        extensions in (0..=MAX_EXTENSION_HEADERS + 3).prop_flat_map(frames::walkable_extensions),
        transport in frames::transport(),
    ) {
        let count = extensions.len();
        let bytes = plain(Network::Ipv6 { extensions }, transport).bytes();
        let expected = if count > MAX_EXTENSION_HEADERS {
            Opinion::Unclassified(Unclassified::ExtensionHeaders)
        } else {
            theirs(&bytes)
        };
        prop_assert_eq!(ours(&ethernet(&bytes)), expected);
    }

    /// The version and the length of an IPv4 header, or only the version of an IPv6 header.
    #[test]
    fn contradictory_headers_are_malformed(
        transport in frames::transport(),
        first in any::<u8>(),
        ipv6 in any::<bool>(),
    ) {
        let network = if ipv6 {
            Network::Ipv6 { extensions: Vec::new() }
        } else {
            Network::Ipv4 { options: vec![1; 40], fragment: None }
        };
        let mut bytes = plain(network, transport).bytes();
        bytes[14] = first;
        let sound = if ipv6 { first >> 4 == 6 } else { first >> 4 == 4 && first & 0x0f >= 5 };
        let malformed =
            ours(&ethernet(&bytes)) == Opinion::Unclassified(Unclassified::Malformed);
        prop_assert_eq!(malformed, !sound);
    }
}
