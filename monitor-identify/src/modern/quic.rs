//! QUIC, RFC 9000 §17.2: long headers, with which a connection begins.

use crate::{Identification, Payload, Verdict, reader::Reader};

const VERSION_1: u32 = 1;
/// RFC 9369.
const VERSION_2: u32 = 0x6b33_43cf;
/// RFC 9000 §14.1.
const SMALLEST_INITIAL: usize = 1200;
const LONGEST_ID: usize = 20;

/// What a version number says of the format.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// As RFC 9000 has it: drafts from 22 on, mvfst of Facebook, T05x of Google.
    Rfc,
    /// Lengths of both ids in one byte: drafts before 22, Q046 to Q050 of Google.
    Nibbles,
    /// Reserved to see whether servers answer with their own versions.
    Reserved,
}

impl Format {
    fn of(version: u32) -> Option<Self> {
        match version {
            VERSION_1 | VERSION_2 => return Some(Self::Rfc),
            0xff00_0016..=0xff00_0040 | 0xface_b000..=0xface_b0ff => return Some(Self::Rfc),
            0xff00_0005..=0xff00_0015 => return Some(Self::Nibbles),
            _ if version & 0x0f0f_0f0f == 0x0a0a_0a0a => return Some(Self::Reserved),
            _ => {}
        }
        match version.to_be_bytes() {
            [b'T', b'0', b'5', b'0'..=b'9'] => Some(Self::Rfc),
            [b'Q', b'0', b'4', b'6'..=b'9'] | [b'Q', b'0', b'5', b'0'..=b'9'] => {
                Some(Self::Nibbles)
            }
            _ => None,
        }
    }
}

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let first = *payload.bytes.first()?;
    let found = if first & 0x80 != 0 { long_header(payload, first) } else { None };
    found.or_else(|| google(payload, first)).or_else(|| refusal(payload))
}

fn long_header(payload: &Payload<'_>, first: u8) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    reader.u8()?;
    let version = reader.be32()?;
    let format = match version {
        0 => None,
        version => Some(Format::of(version)?),
    };
    let (destination, source) = if format == Some(Format::Nibbles) {
        let lens = reader.u8()?;
        let len = |nibble: u8| if nibble == 0 { 0 } else { usize::from(nibble) + 3 };
        (reader.take(len(lens >> 4))?, reader.take(len(lens & 15))?)
    } else {
        (reader.block8()?, reader.block8()?)
    };
    if destination.len() > LONGEST_ID || source.len() > LONGEST_ID {
        return None;
    }
    let mut identification = match (version, format) {
        (0, _) => negotiation(reader.rest())?,
        (VERSION_1 | VERSION_2, _) => long(payload, first, version, &mut reader)?,
        (_, Some(Format::Reserved)) if payload.wire_len >= SMALLEST_INITIAL => {
            Identification::consistent(
                Verdict::Quic,
                "the size of a first QUIC packet, with a version that is reserved to ask for others",
            )
        }
        (_, Some(Format::Rfc | Format::Nibbles)) if payload.wire_len > 20 => {
            Identification::confirmed(
                Verdict::Quic,
                "a long header of QUIC with a version before its standard",
            )
        }
        _ => return None,
    };
    let details = &mut identification.details;
    details.set("version", version_name(version));
    details.set("destination_id_bytes", destination.len());
    details.set("source_id_bytes", source.len());
    Some(identification)
}

/// QUIC as Google had it up to version 43: flags, an id, a version in letters, a packet number.
fn google(payload: &Payload<'_>, first: u8) -> Option<Identification> {
    const HAS_VERSION: u8 = 0x01;
    const RESET: u8 = 0x02;
    const HAS_ID: u8 = 0x08;
    /// The highest bit and that of several paths, which were never used.
    const UNUSED: u8 = 0xc0;
    if first & (HAS_VERSION | RESET | HAS_ID | UNUSED) != HAS_VERSION | HAS_ID {
        return None;
    }
    let mut reader = Reader::new(payload.bytes.get(1..)?);
    let _id = reader.be64()?;
    let version @ [b'Q', b'0', b'2'..=b'4', b'0'..=b'9'] = reader.array()? else { return None };
    let reason = "the public header of QUIC as Google had it first, with its version";
    let mut found = Identification::confirmed(Verdict::Quic, reason);
    found.details.set_text("version", &version);
    Some(found)
}

/// A server of Google's first QUIC that refuses a hello: its tags in plain text behind a packet
/// number and a hash. It sends no version.
fn refusal(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 443;
    let start = payload.bytes.get(..64).unwrap_or(payload.bytes);
    let is_refusal = payload.has_port(PORT)
        && payload.bytes.first()? & 0xc1 == 0
        && crate::reader::contains(start, b"REJ\0");
    is_refusal.then(|| {
        let reason = "the tag by which servers of QUIC as Google had it first refuse a hello";
        Identification::consistent(Verdict::Quic, reason)
    })
}

/// Letters, where a version has them.
fn version_name(version: u32) -> String {
    let letters = version.to_be_bytes();
    if letters.iter().all(u8::is_ascii_alphanumeric) {
        return letters.map(char::from).iter().collect();
    }
    format!("0x{version:08x}")
}

fn long(
    payload: &Payload<'_>,
    first: u8,
    version: u32,
    reader: &mut Reader<'_>,
) -> Option<Identification> {
    // Version 2 numbers the types one higher.
    let kind = (first >> 4 & 3).wrapping_sub((version == VERSION_2).into()) & 3;
    if first & 0x40 == 0 {
        return None;
    }
    if kind == 0 {
        let token = varint(reader)?;
        reader.take(usize::try_from(token).ok()?)?;
    }
    let name = ["Initial", "0-RTT", "Handshake", "Retry"][usize::from(kind)];
    if kind < 3 {
        let len = varint(reader)?;
        let left = payload.wire_len.saturating_sub(payload.bytes.len() - reader.rest().len());
        if len < 20 || len > left as u64 {
            return None;
        }
    }
    let is_first = kind == 0 && payload.wire_len >= SMALLEST_INITIAL;
    let mut identification = if is_first {
        Identification::confirmed(
            Verdict::Quic,
            "an Initial packet of QUIC: version, ids, sizes, and the length it must have",
        )
    } else {
        Identification::consistent(Verdict::Quic, "a long header of QUIC: version, ids and sizes")
    };
    identification.details.set("packet", name);
    Some(identification)
}

/// §17.2.1: versions to the end, and nothing else.
fn negotiation(rest: &[u8]) -> Option<Identification> {
    let (versions, more) = rest.as_chunks::<4>();
    let is_known = |version: &[u8; 4]| {
        let version = u32::from_be_bytes(*version);
        Format::of(version).is_some_and(|format| format != Format::Reserved)
            || matches!(version.to_be_bytes(), [b'Q', b'0', b'0'..=b'5', b'0'..=b'9'])
    };
    (more.is_empty() && versions.iter().any(is_known))
        .then(|| Identification::confirmed(Verdict::Quic, "a QUIC server's list of versions"))
}

/// §16.
fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let more = (1_usize << (first >> 6)) - 1;
    let bytes = reader.take(more)?;
    Some(bytes.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}
