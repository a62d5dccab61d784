//! The ports of an entry: single ones, and ranges of which a program takes another one each time.

use std::{collections::BTreeMap, ops::RangeInclusive};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Ports that an entry keeps one by one. A program on more has all ports between them.
pub const MAX_PORTS: usize = 16;

/// The ports of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPorts {
    /// Single ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub single: BTreeMap<u16, PortRecord>,
    /// The first and the last one, if they were too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u16, u16)>,
    /// Whether the kernel chooses the port, so that any that it may choose is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_automatic: bool,
}

/// When a port was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// The first time.
    pub first: Timestamp,
    /// The last time at which it was opened.
    pub last_opened: Timestamp,
    /// How often it was found open after it had not been.
    pub times: u64,
    /// Covered time when it was last open.
    #[serde(default)]
    pub(super) seen_ns: u64,
    /// The longest covered time after which it was open again.
    #[serde(default)]
    pub(super) longest_absence_ns: u64,
    /// Whether its end was reported.
    #[serde(default)]
    pub(super) is_gone: bool,
}

impl KnownPorts {
    /// Whether a port is among them, where `automatic` are the ports that the kernel may choose.
    pub fn contains(&self, port: u16, automatic: &RangeInclusive<u16>) -> bool {
        self.single.contains_key(&port)
            || self.range.is_some_and(|(first, last)| (first..=last).contains(&port))
            || (self.is_automatic && automatic.contains(&port))
    }

    /// Whether a port is there that the program is known to have taken itself.
    pub(super) fn names(&self, port: u16) -> bool {
        self.single.contains_key(&port)
    }

    /// Adds a port with its record, or any automatic port.
    pub(super) fn add(&mut self, port: u16, record: PortRecord, is_automatic: bool) {
        if is_automatic {
            self.is_automatic = true;
            return;
        }
        if let Some((first, last)) = &mut self.range {
            (*first, *last) = ((*first).min(port), (*last).max(port));
            return;
        }
        self.single.insert(port, record);
        if self.single.len() > MAX_PORTS
            && let (Some((&first, _)), Some((&last, _))) =
                (self.single.first_key_value(), self.single.last_key_value())
        {
            self.range = Some((first, last));
            self.single.clear();
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.range.is_none() && !self.is_automatic
    }
}
