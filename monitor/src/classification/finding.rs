//! What was found of one conversation.

use std::net::SocketAddr;

use monitor_common::flow::{Direction, Protocol};
use sha2::{Digest as _, Sha256};

use crate::config::PayloadKeep;
use monitor_identify::{Identification, hex};

/// A verdict on one direction of a conversation, and what it was found by.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `CLOCK_BOOTTIME` of the packet, nanoseconds.
    pub time_ns: u64,
    /// Index of the interface that it crossed.
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
    /// The verdict.
    pub identification: Identification,
    /// The payload; a connection attempt has none.
    pub payload: Option<PayloadFacts>,
}

/// A payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFacts {
    /// Bytes on the wire.
    pub size: usize,
    /// As many of them as were captured.
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
    /// What is to be kept of it.
    pub fn kept(&self, keep: PayloadKeep) -> Option<Kept> {
        match keep {
            PayloadKeep::None => None,
            PayloadKeep::Hash => Some(Kept::Hash(hex(&Sha256::digest(&self.bytes)))),
            PayloadKeep::Bytes => Some(Kept::Bytes(hex(&self.bytes))),
        }
    }
}
