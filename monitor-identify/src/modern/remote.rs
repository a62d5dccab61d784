//! Screens of other machines: VNC and X11.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// RFC 6143 §7.1.1: either side begins with its version, in twelve bytes.
pub(crate) fn vnc(payload: &Payload<'_>) -> Option<Identification> {
    let version = payload.bytes.strip_prefix(b"RFB ")?.get(..7)?;
    let [a, b, c, b'.', d, e, f] = version else { return None };
    if ![a, b, c, d, e, f].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut details = Details::default();
    details.set_text("version", version);
    Some(Identification::confirmed(Verdict::Vnc, "the version line of VNC").with(details))
}

/// X Window System Protocol §8: byte order, version 11.0, and the sizes of the name and the data of
/// an authorization; or the server's answer.
pub(crate) fn x11(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let order = reader.u8()?;
    let unused = reader.u8()?;
    let words: [[u8; 2]; 5] =
        [reader.array()?, reader.array()?, reader.array()?, reader.array()?, reader.array()?];
    let is_little = order == b'l' || (order <= 2 && words[0] == [11, 0]);
    let word =
        |bytes| if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
    let [major, minor, name_len, data_len, padding] = words.map(word);
    if major != 11 || minor != 0 {
        return None;
    }
    match order {
        b'l' | b'B' if unused == 0 && padding == 0 => {}
        // A server that accepts, and whose answer goes on in further segments: the sizes of its
        // vendor's name and of its pictures, and how both are laid out.
        1 if usize::from(name_len) * 4 + 8 > payload.wire_len => {
            let facts = payload.bytes.get(24..38)?;
            let [vendor, 0, _, _, screens, formats, 0 | 1, 0 | 1, 8 | 16 | 32, 8 | 16 | 32, ..] =
                *facts
            else {
                return None;
            };
            let is_small =
                (1..=64).contains(&vendor) && (1..=16).contains(&screens) && formats <= 32;
            let reason = "the beginning of an X server's answer: version 11, and its layout";
            return if is_small { Identification::graded(Verdict::X11, 32, reason) } else { None };
        }
        // The server refuses, accepts, or asks for more; `name_len` is the size of what follows.
        0..=2 if usize::from(name_len) * 4 + 8 == payload.wire_len => {
            let reason = "the answer of an X server: version 11, and its size agrees";
            return Identification::graded(Verdict::X11, 32 + 14, reason);
        }
        _ => return None,
    }
    let padded = |len: u16| usize::from(len).next_multiple_of(4);
    let of_size = if padded(name_len) + padded(data_len) + 12 == payload.wire_len { 14 } else { 0 };
    let reason = "the first message of an X client: byte order, version 11.0 and sizes";
    let found = Identification::graded(Verdict::X11, 7 + 8 + 32 + of_size, reason)?;
    let mut details = Details::default();
    details.set_some_text("authorization", reader.take(name_len.into()));
    Some(found.with(details))
}
