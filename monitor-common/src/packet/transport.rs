//! The headers of the transport protocols.

use super::{
    bytes::PacketBytes,
    parsed::{Parsed, TRUNCATED},
    segment::{SCTP_LEN, Segment, TCP_LEN, UDP_LEN},
};
use crate::{flow::Protocol, ports::WirePort};

/// What the length field of an IP header says of the transport.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    /// Bytes that it promises in all. 0 says nothing: it stands for a jumbogram or a super-packet
    /// of more than 64 KiB (BIG TCP).
    pub(super) ip_len: u16,
    /// Bytes of these that are options or extension headers.
    pub(super) before_transport: usize,
}

impl Promise {
    /// Whether a transport header of `len` bytes, which is not 0, is promised.
    #[inline(always)]
    const fn covers(self, len: usize) -> bool {
        // Nothing wraps around to everything.
        (self.ip_len as usize).wrapping_sub(1) >= self.before_transport + len - 1
    }
}

/// The fixed part of a TCP (RFC 9293 §3.1), UDP (RFC 768), UDP-Lite (RFC 3828 §3.1) or SCTP (RFC 9260
/// §3.1) header. All start with the ports.
///
/// Both ends count: the packet's, and the one that the IP header promises. What lies between them
/// is Ethernet padding, and ports must not be read from padding.
#[inline(always)]
pub(super) fn parse_transport<P: PacketBytes + ?Sized>(
    packet: &P,
    protocol: Protocol,
    offset: usize,
    promise: Promise,
) -> Parsed {
    match protocol {
        Protocol::Tcp => parse_header::<P, { TCP_LEN / 2 }>(packet, protocol, offset, promise),
        Protocol::Udp | Protocol::UdpLite => {
            parse_header::<P, { UDP_LEN / 2 }>(packet, protocol, offset, promise)
        }
        Protocol::Sctp => parse_header::<P, { SCTP_LEN / 2 }>(packet, protocol, offset, promise),
    }
}

/// A header of `WORDS` words.
#[inline(always)]
fn parse_header<P: PacketBytes + ?Sized, const WORDS: usize>(
    packet: &P,
    protocol: Protocol,
    offset: usize,
    promise: Promise,
) -> Parsed {
    /// Word of the length and the flags, which only the header of TCP is long enough to have.
    const CONTROL: usize = 6;
    const { assert!(SCTP_LEN / 2 <= CONTROL && UDP_LEN / 2 <= CONTROL) };
    let mut scratch = [0; WORDS];
    let header = packet.words(offset, &mut scratch);
    let (Some(header), true) = (header, promise.covers(WORDS * 2)) else {
        return TRUNCATED;
    };
    Parsed::of(Segment {
        protocol,
        source: WirePort(header[0]),
        destination: WirePort(header[1]),
        network: 0,
        offset: offset as u32,
        control: header.get(CONTROL).copied().unwrap_or(0),
    })
}
