//! Games: Minecraft, and RakNet, on which its Bedrock edition and others are built.

use monitor_common::flow::Protocol;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::{Reader, is_printable},
};

/// RakNet's id of messages outside a connection.
const OFFLINE_MAGIC: &[u8] = &[
    0x00, 0xff, 0xff, 0x00, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78,
];

pub(crate) fn raknet(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    let (at, message) = match bytes.first()? {
        1 => (9, "unconnected ping"),
        2 => (9, "unconnected ping, if there is room"),
        5 => (1, "open connection request 1"),
        6 => (1, "open connection reply 1"),
        7 => (1, "open connection request 2"),
        8 => (1, "open connection reply 2"),
        0x1c => (17, "unconnected pong"),
        // Games have numbers of their own.
        _ => (1, "message of a game outside a connection"),
    };
    let rest = bytes.get(at..)?.strip_prefix(OFFLINE_MAGIC)?;
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut details = Details::default();
    details.set("message", message);
    let edition =
        rest.get(2..).filter(|text| text.starts_with(b"MCPE;") || text.starts_with(b"MCEE;"));
    details.set_some_text("server", edition);
    let (verdict, reason) = if edition.is_some() {
        (Verdict::Minecraft, "a Minecraft Bedrock server's answer, in RakNet")
    } else {
        (Verdict::Raknet, "RakNet's id of messages outside a connection")
    };
    Some(Identification::confirmed(verdict, reason).with(details))
}

/// The Java edition's handshake, and the ping of editions before 1.7.
pub(crate) fn minecraft(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    match payload.bytes {
        [0xfe, 0x01] | [0xfe, 0x01, 0xfa, 0x00, 0x0b, ..] => Some(Identification::consistent(
            Verdict::Minecraft,
            "the ping of Minecraft clients before 1.7",
        )),
        bytes => handshake(bytes),
    }
}

/// Size, packet 0, protocol, the server's name and port, and what is to follow.
fn handshake(bytes: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    let len = varint(&mut reader)? as usize;
    let mut packet = Reader::new(reader.take(len)?);
    if packet.u8()? != 0 {
        return None;
    }
    let protocol = varint(&mut packet)?;
    let name_len = varint(&mut packet)? as usize;
    let name = packet.take(name_len)?;
    let port = packet.be16()?;
    let next = packet.u8()?;
    let host = name.split(|byte| *byte == 0).next().unwrap_or(name);
    let is_right = packet.is_empty() && matches!(next, 1..=3) && !host.is_empty();
    if !is_right || !is_printable(host) {
        return None;
    }
    let mut details = Details::default();
    details.set("protocol", protocol);
    details.set("server", format!("{}:{port}", shown(host)));
    details.set("next", ["status", "login", "transfer"][usize::from(next) - 1]);
    let reason = "the handshake of a Minecraft client, field by field to its end";
    Some(Identification::confirmed(Verdict::Minecraft, reason).with(details))
}

/// Seven bits a byte, the lowest first; four bytes are enough here.
fn varint(reader: &mut Reader<'_>) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = reader.u8()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Valve's server queries: four bytes of ones, a letter, and what it stands for.
pub(crate) fn source_query(payload: &Payload<'_>) -> Option<Identification> {
    let &[kind, ref content @ ..] = payload.bytes.strip_prefix(&[0xff; 4])? else { return None };
    let mut details = Details::default();
    let message = match (kind, content) {
        (b'T', _) if content.starts_with(b"Source Engine Query\0") => "information request",
        (b'U', _) if content.len() == 4 => "players request",
        (b'V', _) if content.len() == 4 => "rules request",
        (b'W' | b'i', _) if content.len() <= 4 => "challenge request",
        (b'A', _) if content.len() == 4 => "challenge",
        (b'I', [2..=48, text @ ..]) => {
            let mut texts = text.split(|byte| *byte == 0);
            let (name, map) = (texts.next()?, texts.next()?);
            if name.iter().chain(map).any(|byte| *byte < 0x20) {
                return None;
            }
            details.set_text("server", name);
            details.set_text("map", map);
            "information"
        }
        (b'm', _) if content.contains(&0) => "information of GoldSource",
        (b'D', [_, _, ..]) => "players",
        (b'E', [_, _, ..]) => "rules",
        _ => return None,
    };
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let of_text = if kind == b'T' { 64 } else { 0 };
    let bits = 32 + 5 + of_text - if matches!(kind, b'D' | b'E' | b'm') { 10 } else { 0 };
    let reason = "a query of game servers as Valve's engines have it";
    let found = Identification::graded(Verdict::SourceQuery, bits, reason)?;
    let mut all = Details::default();
    all.set("message", message);
    all.append(details);
    Some(found.with(all))
}
