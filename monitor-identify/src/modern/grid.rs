//! Electric grids and other wide plants: DNP3 and IEC 60870-5-104.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// DNP3, IEEE 1815 §9: a frame whose header has a checksum.
pub(crate) fn dnp3(payload: &Payload<'_>) -> Option<Identification> {
    let header: &[u8; 10] = payload.bytes.first_chunk()?;
    let &[0x05, 0x64, len @ 5..=255, control, destination @ .., c0, c1] = header else {
        return None;
    };
    let [d0, d1, s0, s1] = destination;
    let is_sum = dnp3_checksum(&header[..8]) == u16::from_le_bytes([c0, c1]);
    // Data comes in blocks of 16 bytes, each with a checksum of its own.
    let data = usize::from(len) - 5;
    let is_whole = header.len() + data + data.div_ceil(16) * 2 == payload.wire_len;
    if !is_sum && !is_whole {
        return None;
    }
    let mut details = Details::default();
    details.set("source", u16::from_le_bytes([s0, s1]));
    details.set("destination", u16::from_le_bytes([d0, d1]));
    details.set("from_master", control & 0x80 != 0);
    // Behind the checksum: the transport's byte, the application's control, and its function.
    if len > 7
        && let Some(function) = payload.bytes.get(12)
    {
        let name = match function {
            0 => "confirm",
            1 => "read",
            2 => "write",
            3 => "select",
            4 => "operate",
            5 | 6 => "direct operate",
            13 => "cold restart",
            14 => "warm restart",
            20 => "enable unsolicited",
            21 => "disable unsolicited",
            129 => "response",
            130 => "unsolicited response",
            _ => "other",
        };
        details.set("function", name);
    }
    let found = if is_sum {
        Identification::confirmed(Verdict::Dnp3, "a frame of DNP3 whose checksum is right")
    } else {
        let reason = "the start of a DNP3 frame, whose size is right and whose checksum is not";
        Identification::consistent(Verdict::Dnp3, reason)
    };
    Some(found.with(details))
}

/// CRC-16/DNP, the lowest bit first.
fn dnp3_checksum(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0xa6bc;
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| {
            if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ POLYNOMIAL }
        })
    });
    !sum
}

/// IEC 60870-5-104: units that begin with 0x68 and a length, up to the end.
pub(crate) fn iec104(payload: &Payload<'_>) -> Option<Identification> {
    const START: u8 = 0x68;
    let mut reader = Reader::new(payload.bytes);
    let (mut bits, mut first) = (0_u32, None);
    while !reader.is_empty() {
        if reader.u8()? != START {
            return None;
        }
        let unit = reader.block8()?;
        let (name, of_unit) = iec104_unit(unit)?;
        first.get_or_insert((name, unit));
        bits += 8 + of_unit;
    }
    let (name, unit) = first?;
    let reason = "units of IEC 60870-5-104, whose lengths add up to the payload";
    let found = Identification::graded(Verdict::Iec104, bits + 6, reason)?;
    let mut details = Details::default();
    details.set("unit", name);
    if let [_, _, _, _, kind, _, cause, _, low, high, ..] = *unit {
        details.set("type", kind);
        details.set("cause", cause & 0x3f);
        details.set("station", u16::from_le_bytes([low, high]));
    }
    Some(found.with(details))
}

/// The name of a unit, and the bits of evidence in it.
fn iec104_unit(unit: &[u8]) -> Option<(&'static str, u32)> {
    match *unit {
        [0x07, 0, 0, 0] => Some(("start of data transfer", 40)),
        [0x0b, 0, 0, 0] => Some(("start of data transfer confirmed", 40)),
        [0x13, 0, 0, 0] => Some(("stop of data transfer", 40)),
        [0x23, 0, 0, 0] => Some(("stop of data transfer confirmed", 40)),
        [0x43, 0, 0, 0] => Some(("test", 40)),
        [0x83, 0, 0, 0] => Some(("test confirmed", 40)),
        [1, 0, low, _] if low & 1 == 0 => Some(("acknowledgement", 23)),
        [send, _, receive, _, kind, _, cause, ..] if unit.len() >= 10 => {
            let is_type = matches!(kind, 1..=40 | 45..=64 | 70 | 100..=107 | 110..=113 | 120..=127);
            let is_cause = matches!(cause & 0x3f, 1..=47);
            let is_right = send & 1 == 0 && receive & 1 == 0 && is_type && is_cause;
            is_right.then_some(("information", 2 + 1 + 1 + 12))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_dnp3() {
        let header = [0x05, 0x64, 0x08, 0xc4, 0x04, 0x00, 0x03, 0x00];
        assert_eq!(dnp3_checksum(&header).to_le_bytes(), [0xb4, 0xb8]);
    }
}
