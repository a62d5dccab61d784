//! QUIC, RFC 9000 §17.2: long headers, with which a connection begins.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, reader::Reader};

const VERSION_1: u32 = 1;
/// RFC 9369.
const VERSION_2: u32 = 0x6b33_43cf;
/// RFC 9000 §14.1.
const SMALLEST_INITIAL: usize = 1200;
const LONGEST_ID: usize = 20;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let first = reader.u8()?;
    if first & 0x80 == 0 || !payload.may_be(Protocol::Udp) {
        return None;
    }
    let version = reader.be32()?;
    let destination = reader.block8()?;
    let source = reader.block8()?;
    if destination.len() > LONGEST_ID || source.len() > LONGEST_ID {
        return None;
    }
    let mut identification = match version {
        VERSION_1 | VERSION_2 => long(payload, first, version, &mut reader)?,
        0 => negotiation(reader.rest())?,
        // Versions that are reserved to see whether servers answer with theirs.
        _ if version & 0x0f0f_0f0f == 0x0a0a_0a0a && payload.wire_len >= SMALLEST_INITIAL => {
            Identification::consistent(
                Verdict::Quic,
                "the size of a first QUIC packet, with a version that is reserved to ask for others",
            )
        }
        _ => return None,
    };
    let details = &mut identification.details;
    details.set("version", format!("0x{version:08x}"));
    details.set("destination_id_bytes", destination.len());
    details.set("source_id_bytes", source.len());
    Some(identification)
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
    let is_known =
        |version: &[u8; 4]| matches!(u32::from_be_bytes(*version), VERSION_1 | VERSION_2);
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
