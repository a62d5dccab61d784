//! The results of reading a capture.

use std::{fmt, net::SocketAddr};

use monitor_common::packet::Unclassified;
use serde::Serialize;

use crate::Identification;

/// A conversation and what it is.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// The end that began, as far as the capture shows.
    pub source: SocketAddr,
    /// The other end.
    pub destination: SocketAddr,
    /// What it is.
    #[serde(flatten)]
    pub identification: Identification,
}

/// What became of the packets of a capture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// All packets.
    pub packets: u64,
    /// Conversations that began.
    pub conversations: u64,
    /// Packets that are neither TCP nor UDP.
    pub not_ours: u64,
    /// Packets whose ports cannot be determined, by cause.
    pub unclassified: [u64; Unclassified::COUNT],
    /// Packets with a link layer that is not known here.
    pub unsupported: u64,
    /// Conversations that were reported before the end, to make room.
    pub evicted: u64,
}

/// The word behind a number of conversations.
const fn word(conversations: u64) -> &'static str {
    if conversations == 1 { "conversation" } else { "conversations" }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = if self.packets == 1 { "packet" } else { "packets" };
        write!(
            f,
            "{} {packets}, {} {}",
            self.packets,
            self.conversations,
            word(self.conversations)
        )?;
        if self.evicted > 0 {
            let conversations = word(self.evicted);
            write!(f, ", {} {conversations} told before the end of the capture", self.evicted)?;
        }
        let others = [
            (self.not_ours, "neither TCP nor UDP"),
            (self.unsupported, "with an unknown link layer"),
        ];
        let unclassified = Unclassified::ALL.into_iter().zip(self.unclassified);
        let unclassified = unclassified.map(|(cause, count)| (count, cause.name()));
        for (count, what) in others.into_iter().chain(unclassified) {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let summary = Summary { packets: 1, conversations: 1, evicted: 1, ..Summary::default() };
        let text = "1 packet, 1 conversation, 1 conversation told before the end of the capture";
        assert_eq!(summary.to_string(), text);
        assert_eq!(Summary::default().to_string(), "0 packets, 0 conversations");
    }
}
