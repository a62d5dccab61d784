//! The transport header that counting needs.

use super::bytes::{first, second};
use crate::{flow::Protocol, ports::WirePort, rare::SCTP_HEADER_LEN};

pub(super) const TCP_LEN: usize = 20;
/// UDP-Lite has its checksum's coverage where UDP has its length.
pub(super) const UDP_LEN: usize = 8;
pub(super) const SCTP_LEN: usize = SCTP_HEADER_LEN as usize;

/// The transport header of a packet, as far as counting needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source port.
    pub source: WirePort,
    /// Destination port.
    pub destination: WirePort,
    /// Bytes from the start of the packet to the IP header.
    pub network: u32,
    /// Bytes from the start of the packet to the transport header.
    pub offset: u32,
    /// Data offset and control bits of TCP as they lie in memory, RFC 9293 §3.1; 0 for the others.
    ///
    /// Raw, because only packets on a watched port need their meaning.
    pub control: u16,
}

impl Segment {
    /// Whether it is a TCP segment with the control bit SYN, RFC 9293 §3.1.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        second(self.control) & 2 != 0
    }
}

/// Bytes from the start of the packet to the transport payload, by the fields of a [`Segment`]: what
/// every segment of a GRO or TSO super-packet repeats on the wire.
#[inline(always)]
pub const fn headers_len(protocol: Protocol, offset: u32, control: u16) -> u32 {
    let transport_len = match protocol {
        Protocol::Udp | Protocol::UdpLite => UDP_LEN as u32,
        Protocol::Sctp => SCTP_LEN as u32,
        Protocol::Tcp => {
            let words = (first(control) >> 4) as u32;
            if words < 5 { TCP_LEN as u32 } else { words * 4 }
        }
    };
    offset + transport_len
}
