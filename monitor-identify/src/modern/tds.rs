//! Tabular Data Stream of SQL Server and Sybase, [MS-TDS] §2.2.3: packets with a header of eight
//! bytes.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

const BATCH: u8 = 0x01;
const RPC: u8 = 0x03;
const RESPONSE: u8 = 0x04;
/// Of Sybase alone.
const REQUEST_OF_SYBASE: u8 = 0x0f;
const LOGIN7: u8 = 0x10;
const PRELOGIN: u8 = 0x12;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [kind, status] = reader.array()?;
    let len = usize::from(reader.be16()?);
    let process = reader.be16()?;
    let [_packet, window] = reader.array()?;
    let name = packet_name(kind)?;
    let is_status = matches!(status, 0 | 1 | 3 | 4 | 8 | 9 | 0x10 | 0x11);
    if !is_status || window != 0 || len < 8 {
        return None;
    }
    let of_size = if len == payload.wire_len { 14 } else { 0 };
    let of_process = if process == 0 { 12 } else { 0 };
    let of_content = content_bits(kind, status, reader.rest(), len - 8)?;
    // A packet that goes on in further segments takes a content that says so.
    if len > payload.wire_len && of_content < 16 {
        return None;
    }
    let bits = 5 + 5 + 8 + of_size + of_process + of_content;
    let reason = "a packet of TDS, SQL Server's protocol: type, status, size and content";
    let found = Identification::graded(Verdict::Tds, bits, reason)?;
    let mut details = Details::default();
    details.set("packet", name);
    match kind {
        PRELOGIN => describe_prelogin(reader.rest(), &mut details),
        RESPONSE if reader.peek() == Some(0) => describe_prelogin(reader.rest(), &mut details),
        LOGIN7 => describe_login(reader.rest(), &mut details),
        BATCH => {
            details.set_some_content("query", utf16(batch_text(reader.rest())).as_deref());
            Some(())
        }
        _ => None,
    };
    Some(found.with(details))
}

/// SQL Server Resolution Protocol, [MC-SQLR] §2.2, on UDP: a client asks for instances, a server
/// answers with text, and makes an amplifier.
pub(crate) fn resolution(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 1434;
    let mut details = Details::default();
    let (bits, message) = match *payload.bytes {
        [5, low, high, ref text @ ..] if text.starts_with(b"ServerName;") => {
            let is_size = usize::from(u16::from_le_bytes([low, high])) + 3 == payload.wire_len;
            let mut fields = text.split(|byte| *byte == b';');
            details.set_some_text("server", fields.nth(1));
            details.set_some_text("instance", fields.nth(1));
            (if is_size { 64 } else { 40 }, "answer")
        }
        [2 | 3] if payload.has_port(PORT) => (20, "request for all instances"),
        // The worm of 2003 overflows the name.
        [4, ref name @ ..] if name.len() > 64 && name[..32] == [1; 32] => (64, "SQL Slammer"),
        [4, ref name @ .., 0] if payload.has_port(PORT) && (1..=32).contains(&name.len()) => {
            if !crate::reader::is_printable(name) {
                return None;
            }
            details.set_text("instance", name);
            (24, "request for an instance")
        }
        _ => return None,
    };
    let reason = "a message by which clients look for instances of SQL Server";
    let found = Identification::graded(Verdict::Tds, bits, reason)?;
    let mut all = Details::default();
    all.set("message", message);
    all.append(details);
    Some(found.with(all))
}

/// Bits of evidence in the content; `None` if it contradicts the type.
fn content_bits(kind: u8, status: u8, content: &[u8], len: usize) -> Option<u32> {
    match kind {
        // A list of options, the first of which is the version, and which ends with 255.
        PRELOGIN => {
            let is_list = matches!(content, [0, 0, offset, 0, 6, ..] if (6..=64).contains(offset));
            is_list.then_some(16)
        }
        LOGIN7 => {
            let &[a, b, c, d, _, _, _, version, ..] = content else { return None };
            let is_size = u32::from_le_bytes([a, b, c, d]) as usize <= len + 8;
            (is_size && (0x70..=0x74).contains(&version)).then_some(20)
        }
        BATCH => {
            let text = batch_text(content);
            let pairs = text.as_chunks::<2>().0;
            let is_text = pairs.len() >= 4
                && pairs.iter().take(8).all(|pair| {
                    pair[1] == 0 && matches!(pair[0], 0x20..=0x7e | b'\t' | b'\r' | b'\n')
                });
            is_text.then_some(24)
        }
        // Headers of all requests since version 7.2, the first of which is of a transaction.
        RPC if content.starts_with(&[0x16, 0, 0, 0, 0x12, 0, 0, 0, 2, 0]) => Some(40),
        // Tokens: capabilities, a language, a cursor, a dynamic statement, a call.
        REQUEST_OF_SYBASE => {
            let is_token =
                matches!(content, [0x21 | 0x71 | 0x80..=0x86 | 0xe0 | 0xe2 | 0xe6..=0xe8, ..]);
            is_token.then_some(4)
        }
        // The only packet of a call says that it is the last.
        RPC => (status & 1 != 0).then_some(4),
        // A list of options, as in a prelogin.
        RESPONSE if matches!(content, [0, 0, 6..=64, 0, 6, ..]) => Some(16),
        // Tokens of a response begin in the upper half.
        RESPONSE => matches!(content.first(), None | Some(0x79..=0xfe)).then_some(1),
        _ => Some(0),
    }
}

/// The text of a batch, which headers may precede since version 7.2.
fn batch_text(content: &[u8]) -> &[u8] {
    let headers = Reader::new(content).le32().map_or(0, |len| len as usize);
    if (4..=64).contains(&headers) { content.get(headers..).unwrap_or(content) } else { content }
}

fn describe_prelogin(content: &[u8], details: &mut Details) -> Option<()> {
    let offset = usize::from(*content.get(2)?);
    let [major, minor, build_high, build_low] = content.get(offset..)?.first_chunk()?;
    let build = u16::from_be_bytes([*build_high, *build_low]);
    details.set("version", format!("{major}.{minor}.{build}"));
    Some(())
}

/// Names of a login: their places and lengths in characters begin at byte 36.
fn describe_login(content: &[u8], details: &mut Details) -> Option<()> {
    let mut places = Reader::new(content.get(36..)?);
    for name in ["client", "user", "", "application", "server"] {
        let offset = usize::from(places.le16()?);
        let len = usize::from(places.le16()?) * 2;
        // A password is not put down.
        if !name.is_empty() {
            let text = content.get(offset..offset.checked_add(len)?)?;
            details.set_some_text(name, utf16(text).as_deref());
        }
    }
    Some(())
}

fn utf16(bytes: &[u8]) -> Option<Vec<u8>> {
    const MOST: usize = 256;
    let units = bytes.as_chunks::<2>().0.iter().take(MOST).map(|pair| u16::from_le_bytes(*pair));
    let text = String::from_utf16_lossy(&units.collect::<Vec<u16>>());
    Some(text.into_bytes())
}

const fn packet_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        BATCH => "batch",
        2 => "login before version 7",
        RPC => "remote procedure call",
        RESPONSE => "response",
        6 => "attention",
        7 => "bulk load",
        8 => "federated authentication token",
        14 => "transaction manager request",
        REQUEST_OF_SYBASE => "request of TDS 5",
        LOGIN7 => "login",
        17 => "SSPI",
        PRELOGIN => "prelogin",
        _ => return None,
    })
}
