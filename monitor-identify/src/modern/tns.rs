//! Transparent Network Substrate of Oracle: a header of eight bytes, then text in parentheses.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains},
};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let short = reader.be16()?;
    let checksum = reader.be16()?;
    let [kind, flags] = reader.array()?;
    let header_checksum = reader.be16()?;
    // Since version 315 the length may take the place of the checksum as well.
    let len = if short == 0 { usize::from(checksum) } else { usize::from(short) };
    let content = payload.bytes.get(8..)?;
    let start = &content[..content.len().min(400)];
    let has_words = contains(start, b"(DESCRIPTION") || contains(start, b"(CONNECT_DATA");
    let name = match packet_name(kind) {
        None if has_words => "other",
        name => name?,
    };
    let is_size = len == payload.wire_len || (kind == CONNECT && len < payload.wire_len);
    if (short != 0 && checksum != 0) || header_checksum != 0 || !is_size || flags & 0x50 != 0 {
        return None;
    }
    let of_content = match kind {
        // A version of the protocol.
        CONNECT | ACCEPT if (300..=330).contains(&reader.be16()?) => 12,
        CONNECT | ACCEPT => return None,
        REFUSE | REDIRECT if content.contains(&b'(') => 8,
        RESEND if len == 8 => 16,
        MARKER if len == 11 => 8,
        RESEND | MARKER => return None,
        _ => 0,
    };
    let of_words = if has_words { 24 } else { 0 };
    let bits = 14 + 16 + 5 + of_content + of_words - if kind == DATA { 8 } else { 0 };
    let reason = "a packet of TNS, Oracle's protocol: size, type, and what follows them";
    let found = Identification::graded(Verdict::Tns, bits, reason)?;
    let mut details = Details::default();
    details.set("packet", name);
    for (name, field) in [
        ("service", &b"(SERVICE_NAME="[..]),
        ("sid", b"(SID="),
        ("program", b"(PROGRAM="),
        ("client_host", b"(HOST="),
        ("user", b"(USER="),
        ("command", b"(COMMAND="),
        ("error", b"(ERR="),
    ] {
        details.set_some_text(name, value(content, field));
    }
    Some(found.with(details))
}

const CONNECT: u8 = 1;
const ACCEPT: u8 = 2;
const REFUSE: u8 = 4;
const REDIRECT: u8 = 5;
const DATA: u8 = 6;
const RESEND: u8 = 11;
const MARKER: u8 = 12;

fn value<'a>(content: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let at = content.windows(field.len()).position(|window| window.eq_ignore_ascii_case(field))?;
    let value = &content[at + field.len()..];
    let end = value.iter().position(|byte| *byte == b')')?;
    Some(&value[..end])
}

const fn packet_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        CONNECT => "connect",
        ACCEPT => "accept",
        3 => "acknowledge",
        REFUSE => "refuse",
        REDIRECT => "redirect",
        DATA => "data",
        9 => "abort",
        RESEND => "resend",
        MARKER => "marker",
        13 => "attention",
        14 => "control",
        _ => return None,
    })
}
