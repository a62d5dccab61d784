//! What a payload really is: bytes and ports in, a verdict with its reason out.
//!
//! Pure: no I/O, no clock, no state. Signatures are functions in one table, the most specific first,
//! each of which looks at the first bytes before anything else; nothing is allocated until one of
//! them has recognised the payload. The protocols of the five ports are walked structure by
//! structure, because single bytes prove nothing: [`evidence`] says how much is enough.

#![forbid(unsafe_code)]

use monitor_common::flow::{Direction, Protocol};

pub mod capture;
mod details;
mod evidence;
mod fallback;
mod identification;
mod legacy;
mod modern;
mod reader;
pub mod scanner;
mod verdict;

pub use details::{Details, hex};
pub use identification::{Grade, Identification};
pub use verdict::Verdict;

/// The first payload of one direction of a conversation, and what is known around it.
///
/// What is not known is `None`, and rules nothing out.
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
    const fn is_cut(&self) -> bool {
        self.bytes.len() < self.wire_len
    }

    /// Whether it may have come by this transport.
    fn may_be(&self, transport: Protocol) -> bool {
        self.transport.is_none_or(|known| known == transport)
    }

    /// Whether a port is one of the two ends.
    fn has_port(&self, port: u16) -> bool {
        self.source_port == Some(port) || self.destination_port == Some(port)
    }
}

/// Looks at a payload and says what it is, or nothing.
type Signature = fn(&Payload<'_>) -> Option<Identification>;

/// Says what a payload is.
///
/// Whatever the bytes are, it takes time in proportion to their number and does not panic.
pub fn identify(payload: &Payload<'_>) -> Identification {
    if payload.bytes.is_empty() {
        return fallback::empty(payload);
    }
    let tables = [legacy::SIGNATURES, modern::SIGNATURES];
    let mut signatures = tables.into_iter().flatten();
    let identified = signatures.find_map(|signature| signature(payload));
    identified.unwrap_or_else(|| fallback::identify(payload))
}
