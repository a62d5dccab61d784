//! Packets put together to conversations, with the first payload of each direction.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::SocketAddr,
};

use monitor_common::{flow::Protocol, packet::Unclassified};
use serde::Serialize;

use super::packet::{NoPacket, Packet};
use crate::{Identification, Payload, Verdict, identify, scanner::identify_syn};

/// Conversations that are kept at once. Beyond, the oldest is reported, and dropped: should it go on,
/// it counts as another one.
const MAX_OPEN: usize = 65_536;

/// A conversation and what it is.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// Who began, as far as the capture shows.
    pub source: SocketAddr,
    /// Whom they turned to.
    pub destination: SocketAddr,
    /// What it is.
    #[serde(flatten)]
    pub identification: Identification,
}

/// What became of the packets of a capture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    packets: u64,
    conversations: u64,
    not_ours: u64,
    unclassified: [u64; Unclassified::COUNT],
    /// Packets with a link layer that is not known here.
    pub unsupported: u64,
    /// Conversations that were reported before the end.
    evicted: u64,
}

/// The two ends, the smaller first, in either direction.
type Key = (Protocol, SocketAddr, SocketAddr);

struct Conversation {
    key: Key,
    source: SocketAddr,
    destination: SocketAddr,
    /// What the payloads are so far.
    found: Option<Identification>,
    /// Whether a payload was seen from the source and to it.
    has_payload: [bool; 2],
    /// What sent the SYN, until there is a connection.
    attempt: Option<(u32, Identification)>,
}

/// Conversations by their ends, and in the order of their first packets.
pub(super) struct Conversations<'a> {
    tell: &'a mut dyn FnMut(&Finding) -> io::Result<()>,
    ids: HashMap<Key, u64>,
    open: BTreeMap<u64, Conversation>,
    next_id: u64,
    pub(super) summary: Summary,
}

impl<'a> Conversations<'a> {
    /// Conversations are given to `tell` as soon as nothing more is expected of them.
    pub(super) fn new(tell: &'a mut dyn FnMut(&Finding) -> io::Result<()>) -> Self {
        let summary = Summary::default();
        Self { tell, ids: HashMap::new(), open: BTreeMap::new(), next_id: 0, summary }
    }

    /// Takes a packet, or notes why there is none.
    pub(super) fn take(&mut self, packet: Result<Packet<'_>, NoPacket>) -> io::Result<()> {
        self.summary.packets += 1;
        match packet {
            Ok(packet) => self.add(&packet),
            Err(NoPacket::NotOurs) => {
                self.summary.not_ours += 1;
                Ok(())
            }
            Err(NoPacket::Unclassified(cause)) => {
                self.summary.unclassified[cause as usize] += 1;
                Ok(())
            }
        }
    }

    fn add(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let key = (
            packet.protocol,
            packet.source.min(packet.destination),
            packet.source.max(packet.destination),
        );
        if let Some(id) = self.ids.get(&key).copied()
            && self.open.get(&id).is_some_and(|known| known.is_over_for(packet))
        {
            self.close(id)?;
        }
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => self.open(key, packet)?,
        };
        if let Some(conversation) = self.open.get_mut(&id) {
            conversation.add(packet);
        }
        Ok(())
    }

    fn open(&mut self, key: Key, packet: &Packet<'_>) -> io::Result<u64> {
        if self.open.len() >= MAX_OPEN
            && let Some(oldest) = self.open.keys().next().copied()
        {
            self.summary.evicted += 1;
            self.close(oldest)?;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.summary.conversations += 1;
        self.ids.insert(key, id);
        self.open.insert(id, Conversation::of(key, packet));
        Ok(id)
    }

    fn close(&mut self, id: u64) -> io::Result<()> {
        let Some(conversation) = self.open.remove(&id) else { return Ok(()) };
        self.ids.remove(&conversation.key);
        (self.tell)(&conversation.finding())
    }

    /// Reports all that are left.
    pub(super) fn finish(mut self) -> (Summary, io::Result<()>) {
        let mut outcome = Ok(());
        while let Some(id) = self.open.keys().next().copied()
            && outcome.is_ok()
        {
            outcome = self.close(id);
        }
        (self.summary, outcome)
    }
}

impl Conversation {
    fn of(key: Key, packet: &Packet<'_>) -> Self {
        // An acceptance goes back to who began.
        let is_answer = packet.tcp.is_some_and(|tcp| tcp.is_acceptance());
        let (source, destination) = if is_answer {
            (packet.destination, packet.source)
        } else {
            (packet.source, packet.destination)
        };
        Self { key, source, destination, found: None, has_payload: [false; 2], attempt: None }
    }

    /// Whether a packet opens another connection between the same ports.
    fn is_over_for(&self, packet: &Packet<'_>) -> bool {
        let Some(tcp) = packet.tcp.filter(|tcp| tcp.is_attempt()) else { return false };
        match &self.attempt {
            // The same one once more.
            Some((sequence, _)) => *sequence != tcp.sequence,
            None => true,
        }
    }

    fn add(&mut self, packet: &Packet<'_>) {
        let is_from_source = packet.source == self.source;
        if let Some(tcp) = packet.tcp {
            if tcp.is_attempt() && self.attempt.is_none() {
                self.attempt = packet.attempt().map(|syn| (tcp.sequence, identify_syn(&syn)));
            } else if is_from_source && tcp.acknowledges() {
                // The end that opened it goes on: it is a connection.
                if let Some((_, attempt)) = &mut self.attempt {
                    *attempt = Identification::new(
                        Verdict::Empty,
                        crate::Grade::Confirmed,
                        "a connection without a payload",
                    );
                }
            }
        }
        let has_payload = &mut self.has_payload[usize::from(!is_from_source)];
        if packet.payload_len > 0 && !*has_payload {
            *has_payload = true;
            self.identify(packet);
        }
    }

    fn identify(&mut self, packet: &Packet<'_>) {
        let identification = identify(&Payload {
            bytes: packet.payload,
            wire_len: packet.payload_len,
            transport: Some(packet.protocol),
            source_port: Some(packet.source.port()),
            destination_port: Some(packet.destination.port()),
            direction: None,
        });
        let rank = |found: &Identification| (found.verdict.specificity(), found.grade);
        // Of two that tell as much, the first in time.
        if self.found.as_ref().is_none_or(|found| rank(found) < rank(&identification)) {
            self.found = Some(identification);
        }
    }

    fn finding(self) -> Finding {
        let identification = match (self.found, self.attempt) {
            (Some(found), _) => found,
            (None, Some((_, attempt))) => attempt,
            (None, None) => identify(&Payload::of(&[])),
        };
        Finding {
            transport: self.key.0.name(),
            source: self.source,
            destination: self.destination,
            identification,
        }
    }
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
    use std::net::Ipv4Addr;

    use super::*;

    fn datagram(source: u32, payload: &[u8]) -> Packet<'_> {
        Packet {
            protocol: Protocol::Udp,
            source: SocketAddr::new(Ipv4Addr::from_bits(source).into(), 9200),
            destination: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 2948),
            payload,
            payload_len: payload.len(),
            ipv4: None,
            tcp: None,
        }
    }

    #[test]
    fn a_flood_of_sources_is_told_as_it_comes() {
        let mut told = 0;
        let mut tell = |_: &Finding| {
            told += 1;
            Ok(())
        };
        let mut conversations = Conversations::new(&mut tell);
        for source in 1..=MAX_OPEN as u32 + 10 {
            conversations.take(Ok(datagram(source, b"x"))).expect("room");
            assert!(conversations.open.len() <= MAX_OPEN && conversations.ids.len() <= MAX_OPEN);
        }
        let (summary, outcome) = conversations.finish();
        outcome.expect("told");
        assert_eq!(told, MAX_OPEN + 10);
        assert!(summary.to_string().contains("10 conversations told before the end"), "{summary}");
    }

    #[test]
    fn one_is_no_plural() {
        let summary = Summary { packets: 1, conversations: 1, evicted: 1, ..Summary::default() };
        let text = "1 packet, 1 conversation, 1 conversation told before the end of the capture";
        assert_eq!(summary.to_string(), text);
        assert_eq!(Summary::default().to_string(), "0 packets, 0 conversations");
    }

    #[test]
    fn what_tells_more_wins() {
        let mut verdicts = Vec::new();
        let mut tell = |finding: &Finding| {
            verdicts.push(finding.identification.verdict);
            Ok(())
        };
        let mut conversations = Conversations::new(&mut tell);
        let question = datagram(1, b"hello\n");
        let answer = Packet {
            source: question.destination,
            destination: question.source,
            ..datagram(1, b"SSH-2.0-x\r\n")
        };
        conversations.take(Ok(question)).expect("room");
        conversations.take(Ok(answer)).expect("room");
        conversations.finish().1.expect("told");
        assert_eq!(verdicts, [Verdict::Ssh]);
    }
}
