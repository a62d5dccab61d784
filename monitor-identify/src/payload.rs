//! The input of an identification.

use monitor_common::flow::{Direction, Protocol};

/// The first payload of one direction of a conversation, and what is known around it.
///
/// A field that is `None` is not known, and rules nothing out.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The payload from its first byte, as far as it was captured.
    pub bytes: &'a [u8],
    /// Bytes of the payload on the wire; no fewer than were captured.
    pub wire_len: usize,
    /// What carried it.
    pub transport: Option<Protocol>,
    /// Port it came from.
    pub source_port: Option<u16>,
    /// Port it went to.
    pub destination_port: Option<u16>,
    /// Which way it crossed this host's interface.
    pub direction: Option<Direction>,
}

impl<'a> Payload<'a> {
    /// A complete payload of which nothing else is known.
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            wire_len: bytes.len(),
            transport: None,
            source_port: None,
            destination_port: None,
            direction: None,
        }
    }

    /// Whether bytes are missing at the end.
    pub(crate) const fn is_cut(&self) -> bool {
        self.bytes.len() < self.wire_len
    }

    /// Bytes that are missing at the end.
    pub(crate) const fn missing(&self) -> usize {
        self.wire_len.saturating_sub(self.bytes.len())
    }

    /// Whether it may have come by this transport.
    pub(crate) fn may_be(&self, transport: Protocol) -> bool {
        self.transport.is_none_or(|known| known == transport)
    }

    /// Whether a port is one of the two ends.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.source_port == Some(port) || self.destination_port == Some(port)
    }
}
