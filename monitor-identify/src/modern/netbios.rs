//! NetBIOS over TCP and UDP, RFC 1002 §4: names, datagrams and sessions.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// A name as it is on the wire: a length, two letters for each of sixteen bytes, a zero.
struct Name<'a>(&'a [u8; 32]);

impl<'a> Name<'a> {
    /// Bits of evidence in a name: 32 letters of sixteen.
    const EVIDENCE: u32 = 40;

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        if reader.u8()? != 32 {
            return None;
        }
        let letters: &[u8; 32] = reader.take(32)?.try_into().ok()?;
        // A scope may follow in place of the zero.
        let is_end = reader.u8()? <= 63;
        (is_end && letters.iter().all(|letter| matches!(letter, b'A'..=b'P')))
            .then_some(Self(letters))
    }

    fn describe(&self, field: &'static str, details: &mut Details) {
        let (pairs, _) = self.0.as_chunks::<2>();
        let mut name = [0; 16];
        for (byte, [high, low]) in name.iter_mut().zip(pairs) {
            *byte = (high - b'A') << 4 | (low - b'A');
        }
        let text = name[..15].trim_ascii_end();
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        details.set(field, format!("{}<{:02x}>", crate::details::shown(&text[..end]), name[15]));
    }
}

/// The name service of port 137: a DNS message with names of its own.
pub(crate) fn names(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let _id = reader.be16()?;
    let flags = reader.be16()?;
    let [questions, answers, _, _] =
        [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?];
    if !matches!((questions, answers), (1, 0) | (0, 1)) {
        return None;
    }
    let name = Name::read(&mut reader)?;
    let kind = reader.be16()?;
    let class = reader.be16()?;
    let question = match kind {
        0x20 => "name",
        0x21 => "status",
        0x0a => "negative answer",
        _ => return None,
    };
    if class != 1 {
        return None;
    }
    let mut details = Details::default();
    details.set("service", "names");
    details.set("question", question);
    let operation = match flags >> 11 & 15 {
        0 => "query",
        5 => "registration",
        6 => "release",
        7 => "wait",
        8 | 9 => "refresh",
        _ => "other",
    };
    details.set("operation", operation);
    details.set("response", flags & 0x8000 != 0);
    name.describe("name", &mut details);
    let reason = "a message of NetBIOS' name service, with a name in its encoding";
    Some(Identification::confirmed(Verdict::Netbios, reason).with(details))
}

/// The datagrams of port 138.
pub(crate) fn datagrams(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let kind @ 0x10..=0x16 = reader.u8()? else { return None };
    let _flags_and_id: [u8; 3] = reader.array()?;
    let _address: [u8; 4] = reader.array()?;
    let _port = reader.be16()?;
    let _len_and_offset: [u8; 4] = reader.array()?;
    let source = Name::read(&mut reader)?;
    let destination = Name::read(&mut reader);
    let mut details = Details::default();
    details.set("service", "datagrams");
    let kinds =
        ["direct unique", "direct group", "broadcast", "error", "query", "positive", "negative"];
    details.set("datagram", kinds[usize::from(kind - 0x10)]);
    source.describe("source_name", &mut details);
    if let Some(destination) = destination {
        destination.describe("destination_name", &mut details);
    }
    let reason = "a datagram of NetBIOS, with names in its encoding";
    Some(Identification::confirmed(Verdict::Netbios, reason).with(details))
}

/// The sessions of port 139, which SMB follows.
pub(crate) fn sessions(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [kind, flags] = reader.array()?;
    let len = reader.be16()?;
    let packet = match (kind, flags, len) {
        (0x81, 0, 68..) => "session request",
        (0x82, 0, 0) => "positive session response",
        (0x83, 0, 1) => "negative session response",
        (0x84, 0, 6) => "retarget session response",
        (0x85, 0, 0) => "keep-alive",
        _ => return None,
    };
    let names = match kind {
        0x81 => Some((Name::read(&mut reader)?, Name::read(&mut reader)?)),
        _ if usize::from(len) + 4 != payload.wire_len => return None,
        0x83 if !matches!(reader.peek(), Some(0x80..=0x83 | 0x8f)) => return None,
        _ => None,
    };
    let bits = if names.is_some() { Name::EVIDENCE } else { 14 };
    let home = if payload.has_port(139) { 8 } else { 0 };
    let reason = "a packet of NetBIOS' session service";
    let found = Identification::graded(Verdict::Netbios, bits + home, reason)?;
    let mut details = Details::default();
    details.set("service", "sessions");
    details.set("packet", packet);
    if let Some((called, calling)) = names {
        called.describe("called_name", &mut details);
        calling.describe("calling_name", &mut details);
    }
    Some(found.with(details))
}
