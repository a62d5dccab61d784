//! An entry: a program, what it listens on, and whether that is in the baseline.

use jiff::Timestamp;
use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

use super::{
    identity::{Listener, Program, ProgramKey, Scope},
    ports::KnownPorts,
};

/// How a listener relates to the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is in the baseline.
    Learned,
    /// It is not.
    Outside,
}

/// A program that listens, with the ports of one protocol and scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whether it is in the baseline.
    pub standing: Standing,
    /// IANA's number of the transport protocol.
    #[serde(rename = "protocol")]
    protocol_number: u8,
    /// From where it can be reached.
    pub scope: Scope,
    /// What listens, as it was last seen.
    pub program: Program,
    /// Where it listens.
    pub ports: KnownPorts,
    /// When it was first seen.
    pub first: Timestamp,
    /// Covered time when it was last seen.
    #[serde(skip)]
    pub(super) seen_ns: u64,
}

/// What entries are found by.
pub(super) type EntryKey = (Standing, Protocol, Scope, ProgramKey);

impl Entry {
    pub(super) fn new(standing: Standing, listener: &Listener, first: Timestamp) -> Self {
        Self {
            standing,
            protocol_number: listener.protocol.ip_number(),
            scope: listener.scope,
            program: listener.program.clone(),
            ports: KnownPorts::default(),
            first,
            seen_ns: 0,
        }
    }

    /// Transport protocol; `None` for a number of another build.
    pub const fn protocol(&self) -> Option<Protocol> {
        Protocol::from_ip_number(self.protocol_number)
    }

    pub(super) fn key(&self) -> Option<EntryKey> {
        Some((self.standing, self.protocol()?, self.scope, self.program.key()))
    }
}
