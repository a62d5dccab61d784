//! The outcome of a classification.

use std::net::SocketAddr;

use monitor_common::{
    flow::{Direction, Protocol},
    sample::SAMPLE_LEN,
};
use sha2::{Digest as _, Sha256};

use crate::config::PayloadKeep;
use monitor_identify::{Identification, hex};

/// The identification of one direction of a conversation, with the packet that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `CLOCK_BOOTTIME` of the packet, nanoseconds.
    pub time_ns: u64,
    /// Index of the interface that the packet crossed.
    pub interface: u32,
    /// The watched port: this host's, or the peer's.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Which way the packet went.
    pub direction: Direction,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What the payload or the connection attempt is.
    pub identification: Identification,
    /// The payload; `None` for a connection attempt.
    pub payload: Option<PayloadFacts>,
}

/// A captured payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFacts {
    /// Bytes on the wire.
    pub size: usize,
    /// The beginning that was captured.
    pub bytes: Vec<u8>,
}

/// What is kept of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// SHA-256 of the captured bytes, in hexadecimal digits.
    Hash(String),
    /// The captured bytes, in hexadecimal digits.
    Bytes(String),
}

impl PayloadFacts {
    /// What an event keeps of its first [`SAMPLE_LEN`] bytes.
    pub fn kept(&self, keep: PayloadKeep) -> Option<Kept> {
        let bytes = self.bytes.get(..SAMPLE_LEN).unwrap_or(&self.bytes);
        match keep {
            PayloadKeep::None => None,
            PayloadKeep::Hash => Some(Kept::Hash(hex(&Sha256::digest(bytes)))),
            PayloadKeep::Bytes => Some(Kept::Bytes(hex(bytes))),
        }
    }
}
