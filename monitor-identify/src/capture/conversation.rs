//! Packets put together to conversations, with the first payload of each direction.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
};

use monitor_common::flow::Protocol;

use super::{
    finding::{Finding, Summary},
    flight::{Bytes, Flight},
    packet::{NoPacket, Packet},
};
use crate::{
    Grade, Identification, Payload, Verdict, identify, is_unfinished,
    scanner::{identify_stray, identify_syn},
};

/// Conversations that are kept at once. Beyond, the oldest is reported and forgotten: should it go
/// on, it counts as another one.
const MAX_OPEN: usize = 65_536;

/// Bytes of segments that all conversations together keep, before they are identified early.
const MAX_HELD: usize = 64 << 20;

/// The two ends, the smaller first, whichever sends.
type Key = (Protocol, SocketAddr, SocketAddr);

struct Conversation {
    key: Key,
    source: SocketAddr,
    destination: SocketAddr,
    /// The most specific verdict so far.
    found: Option<Identification>,
    /// The payloads of the source and those to it.
    directions: [Direction; 2],
    /// The verdict on the SYN, until there is a connection.
    attempt: Option<(u32, Identification)>,
    /// The verdict on the flags of the first segment, until there is more than it.
    stray: Option<Identification>,
}

/// One direction of a conversation.
#[derive(Default)]
struct Direction {
    flight: Flight,
    /// Whether its first payload has been identified.
    is_identified: bool,
}

/// Conversations by their ends, and in the order of their first packets.
pub(super) struct Conversations<'a> {
    report: &'a mut dyn FnMut(&Finding) -> io::Result<()>,
    ids: HashMap<Key, u64>,
    open: BTreeMap<u64, Conversation>,
    next_id: u64,
    /// Bytes of segments that are kept.
    held: usize,
    pub(super) summary: Summary,
}

impl<'a> Conversations<'a> {
    /// Conversations are given to `report` as soon as nothing more is expected of them.
    pub(super) fn new(report: &'a mut dyn FnMut(&Finding) -> io::Result<()>) -> Self {
        let summary = Summary::default();
        Self { report, ids: HashMap::new(), open: BTreeMap::new(), next_id: 0, held: 0, summary }
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
            let before = conversation.held();
            conversation.add(packet);
            if self.held > MAX_HELD {
                conversation.identify_flights();
            }
            self.held = (self.held + conversation.held()).saturating_sub(before);
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
        self.held = self.held.saturating_sub(conversation.held());
        (self.report)(&conversation.finding())
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
        // An acceptance goes back to the end that began.
        let is_answer = packet.tcp.is_some_and(|tcp| tcp.is_acceptance());
        let (source, destination) = if is_answer {
            (packet.destination, packet.source)
        } else {
            (packet.source, packet.destination)
        };
        let stray = packet.stray().and_then(|stray| identify_stray(&stray));
        Self {
            key,
            source,
            destination,
            found: None,
            directions: Default::default(),
            attempt: None,
            stray,
        }
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

    fn held(&self) -> usize {
        self.directions.iter().map(|direction| direction.flight.held()).sum()
    }

    fn add(&mut self, packet: &Packet<'_>) {
        let is_from_source = packet.source == self.source;
        let index = usize::from(!is_from_source);
        match packet.tcp {
            Some(tcp) => {
                if tcp.is_attempt() && self.attempt.is_none() {
                    self.attempt = packet.attempt().map(|syn| (tcp.sequence, identify_syn(&syn)));
                } else if is_from_source && tcp.acknowledges() {
                    self.note_connection();
                }
                if !is_from_source && tcp.acknowledges() {
                    self.stray = None;
                }
                if tcp.is_attempt() || tcp.is_acceptance() {
                    self.directions[index].flight.anchor(tcp.sequence);
                }
                // A SYN counts one; data may come with it (RFC 7413).
                let is_syn = tcp.is_attempt() || tcp.is_acceptance();
                self.add_segment(index, packet, tcp.sequence.wrapping_add(is_syn.into()));
            }
            None => self.add_datagram(index, packet),
        }
    }

    /// The end that sent a SYN goes on: it is a connection.
    fn note_connection(&mut self) {
        if let Some((_, attempt)) = &mut self.attempt {
            *attempt = Identification::new(
                Verdict::Empty,
                Grade::Confirmed,
                "a connection without a payload",
            );
        }
    }

    fn add_segment(&mut self, index: usize, packet: &Packet<'_>, sequence: u32) {
        if packet.payload_len == 0 {
            return;
        }
        self.stray = None;
        // The other end answers what it was sent.
        let other = 1 - index;
        if self.directions[other].flight.held() > 0 {
            self.identify_flight(other);
        }
        let direction = &mut self.directions[index];
        if direction.is_identified {
            return;
        }
        let missing = packet.payload_len - packet.payload.len();
        direction.flight.add(sequence, packet.payload, missing);
        if direction.flight.is_closed() {
            self.identify_flight(index);
        }
    }

    fn add_datagram(&mut self, index: usize, packet: &Packet<'_>) {
        let direction = &mut self.directions[index];
        if packet.payload_len > 0 && !direction.is_identified {
            direction.is_identified = true;
            let identification = self.identify(index, packet.payload, packet.payload_len);
            self.note(identification);
        }
    }

    fn identify_flights(&mut self) {
        for index in [0, 1] {
            self.identify_flight(index);
        }
    }

    /// Identifies the first segment of a flight, and all of it: a signature may need more than one
    /// segment, or that a message ends where its segment does.
    fn identify_flight(&mut self, index: usize) {
        let direction = &mut self.directions[index];
        let Some(Bytes { bytes, first_len, missing }) = direction.flight.close() else { return };
        direction.is_identified = true;
        let whole = self.identify(index, &bytes, bytes.len() + missing);
        if first_len < bytes.len() {
            let first = self.identify(index, &bytes[..first_len], first_len);
            let is_finished = !is_unfinished(first.verdict, &bytes[..first_len]);
            if is_finished && first.is_better_than_with_more(&whole) {
                return self.note(first);
            }
        }
        self.note(whole);
    }

    fn identify(&self, index: usize, bytes: &[u8], wire_len: usize) -> Identification {
        let ends = [self.source.port(), self.destination.port()];
        identify(&Payload {
            bytes,
            wire_len,
            transport: Some(self.key.0),
            source_port: Some(ends[index]),
            destination_port: Some(ends[1 - index]),
            direction: None,
        })
    }

    /// Of two that are as specific, the first in time stays.
    fn note(&mut self, identification: Identification) {
        if self.found.as_ref().is_none_or(|found| found.rank() < identification.rank()) {
            self.found = Some(identification);
        }
    }

    fn finding(mut self) -> Finding {
        self.identify_flights();
        let attempt = self.attempt.map(|(_, attempt)| attempt);
        let identification = self.found.or(attempt).or(self.stray);
        Finding {
            transport: self.key.0.name(),
            source: self.source,
            destination: self.destination,
            identification: identification.unwrap_or_else(|| identify(&Payload::of(&[]))),
        }
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
    fn a_flood_of_sources_is_reported_as_it_comes() {
        let mut reported = 0;
        let mut report = |_: &Finding| {
            reported += 1;
            Ok(())
        };
        let mut conversations = Conversations::new(&mut report);
        for source in 1..=MAX_OPEN as u32 + 10 {
            conversations.take(Ok(datagram(source, b"x"))).expect("room");
            assert!(conversations.open.len() <= MAX_OPEN && conversations.ids.len() <= MAX_OPEN);
        }
        let (summary, outcome) = conversations.finish();
        outcome.expect("reported");
        assert_eq!(reported, MAX_OPEN + 10);
        assert!(summary.to_string().contains("10 conversations told before the end"), "{summary}");
    }

    #[test]
    fn the_more_specific_verdict_wins() {
        let mut verdicts = Vec::new();
        let mut report = |finding: &Finding| {
            verdicts.push(finding.identification.verdict);
            Ok(())
        };
        let mut conversations = Conversations::new(&mut report);
        let question = datagram(1, b"hello\n");
        let answer = Packet {
            source: question.destination,
            destination: question.source,
            ..datagram(1, b"SSH-2.0-x\r\n")
        };
        conversations.take(Ok(question)).expect("room");
        conversations.take(Ok(answer)).expect("room");
        conversations.finish().1.expect("reported");
        assert_eq!(verdicts, [Verdict::Ssh]);
    }
}
