//! A segment in one register.

use super::{
    bytes::first,
    segment::{Segment, headers_len},
};
use crate::{
    flow::{Orientation, Protocol},
    ports::WirePort,
};

/// A [`Segment`] in one register, and which of its ports are watched: what the functions of the
/// kernel side hand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedSegment(pub u64);

impl PackedSegment {
    /// Of a packet that there is nothing to do with.
    pub const NONE: Self = Self(0);

    const DESTINATION: u32 = 16;
    const OFFSET: u32 = 32;
    const NETWORK: u32 = 47;
    const UDP: u32 = 51;
    const DATA_OFFSET: u32 = 52;
    const SYN: u32 = 56;
    const RST: u32 = 57;
    const ACK: u32 = 58;
    const SOURCE_IS_WATCHED: u32 = 59;
    const DESTINATION_IS_WATCHED: u32 = 60;
    const REVERSED: u32 = 61;
    const TRANSIT: u32 = 62;
    const RARE: u32 = 63;

    /// Packs it; bit 0 of `source` and `destination` says whether that port is watched.
    #[inline(always)]
    pub const fn of(segment: &Segment, source: u64, destination: u64) -> Self {
        let [_, flags] = segment.control.to_ne_bytes();
        let flags = flags as u64;
        let udp = matches!(segment.protocol, Protocol::Udp | Protocol::UdpLite) as u64;
        Self(
            segment.source.0 as u64
                | (segment.destination.0 as u64) << Self::DESTINATION
                | (segment.offset as u64 & 0x7fff) << Self::OFFSET
                | ((segment.network as u64 / 2) & 0xf) << Self::NETWORK
                | udp << Self::UDP
                | (first(segment.control) as u64 >> 4) << Self::DATA_OFFSET
                | (flags >> 1 & 1) << Self::SYN
                | (flags >> 2 & 1) << Self::RST
                | (flags >> 4 & 1) << Self::ACK
                | (source & 1) << Self::SOURCE_IS_WATCHED
                | (destination & 1) << Self::DESTINATION_IS_WATCHED
                | (segment.protocol.is_rare() as u64) << Self::RARE,
        )
    }

    #[inline(always)]
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// TCP or UDP, of a segment that has no [`Self::rare_protocol`].
    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        if self.bit(Self::UDP) { Protocol::Udp } else { Protocol::Tcp }
    }

    /// The protocol, if it is neither TCP nor UDP. The common path never sees one.
    #[inline(always)]
    pub const fn rare_protocol(self) -> Option<Protocol> {
        match (self.bit(Self::RARE), self.bit(Self::UDP)) {
            (false, _) => None,
            (true, true) => Some(Protocol::UdpLite),
            (true, false) => Some(Protocol::Sctp),
        }
    }

    /// Source port.
    #[inline(always)]
    pub const fn source(self) -> WirePort {
        WirePort(self.0 as u16)
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination(self) -> WirePort {
        WirePort((self.0 >> Self::DESTINATION) as u16)
    }

    /// Both ports as they lie in the packet.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        self.0 as u32
    }

    /// Whether the source port is watched.
    #[inline(always)]
    pub const fn source_is_watched(self) -> bool {
        self.bit(Self::SOURCE_IS_WATCHED)
    }

    /// Whether the destination port is watched.
    #[inline(always)]
    pub const fn destination_is_watched(self) -> bool {
        self.bit(Self::DESTINATION_IS_WATCHED)
    }

    /// The same segment of a packet whose orientation is known. Without it, it is
    /// [`Orientation::Usual`].
    #[inline(always)]
    pub const fn with_orientation(self, orientation: Orientation) -> Self {
        let bits = match orientation {
            Orientation::Usual => 0,
            Orientation::Reversed => 1 << Self::REVERSED,
            Orientation::Transit => 1 << Self::TRANSIT,
        };
        Self(self.0 | bits)
    }

    /// Which end of the packet is this host's.
    #[inline(always)]
    pub const fn orientation(self) -> Orientation {
        if self.bit(Self::TRANSIT) {
            Orientation::Transit
        } else if self.bit(Self::REVERSED) {
            Orientation::Reversed
        } else {
            Orientation::Usual
        }
    }

    /// Bytes from the start of the packet to the IP header.
    #[inline(always)]
    pub const fn network(self) -> u32 {
        (self.0 >> Self::NETWORK & 0xf) as u32 * 2
    }

    /// Bytes from the start of the packet to the transport header.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        (self.0 >> Self::OFFSET & 0x7fff) as u32
    }

    /// Bytes from the start of the packet to the payload: see [`headers_len`].
    #[inline(always)]
    pub const fn headers_len(self) -> u32 {
        let data_offset = (self.0 >> Self::DATA_OFFSET & 0xf) as u8;
        let control = u16::from_ne_bytes([data_offset << 4, 0]);
        headers_len(self.protocol(), self.offset(), control)
    }

    /// Whether a TCP segment has the control bit SYN, RFC 9293 §3.1.
    #[inline(always)]
    pub const fn is_syn(self) -> bool {
        self.bit(Self::SYN)
    }

    /// Whether it has the control bit RST.
    #[inline(always)]
    pub const fn is_rst(self) -> bool {
        self.bit(Self::RST)
    }

    /// Whether it is SYN with ACK, RFC 9293 §3.5.
    #[inline(always)]
    pub const fn is_connection_answer(self) -> bool {
        self.0 >> Self::SYN & 0b101 == 0b101
    }

    /// Whether it is SYN without ACK, RFC 9293 §3.5.
    #[inline(always)]
    pub const fn is_connection_attempt(self) -> bool {
        self.0 >> Self::SYN & 0b101 == 1
    }
}
