//! Databases with a handshake: MySQL and PostgreSQL.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::{Details, named},
    reader::{Reader, is_printable},
};

/// The handshake of MySQL and MariaDB, which the server begins.
pub(crate) fn mysql(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [a, b, c, sequence] = reader.array()?;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    let is_whole = len + 4 == payload.wire_len;
    let message = match (sequence, reader.peek()?) {
        (0, 0x0a) => greeting(&mut reader),
        (0..=4, 0xff) if is_whole => refusal(&mut reader),
        (0, 0x02 | 0x03 | 0x16) if is_whole => command(&mut reader),
        (1..=4, 0) if is_whole => acknowledgement(len, reader.rest()),
        (1, _) => login(&mut reader),
        _ => None,
    };
    let Some(found) = message.filter(|_| (6..1 << 16).contains(&len)) else {
        return packets(payload);
    };
    // Several messages may share a segment; otherwise a wrong size speaks against it.
    let grade = if is_whole { found.grade } else { Grade::Consistent };
    Some(Identification { grade, ..found })
}

fn greeting(reader: &mut Reader<'_>) -> Option<Identification> {
    reader.u8()?;
    let version = reader.text_to_nul()?;
    let is_version = version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.');
    if !is_version || !is_printable(version) {
        return None;
    }
    let _connection = reader.le32()?;
    let mut details = Details::default();
    details.set_text("server_version", version);
    let reason = "the greeting of a MySQL server: size, protocol 10, version";
    Some(Identification::confirmed(Verdict::Mysql, reason).with(details))
}

/// Packets whose sizes add up to the payload and whose numbers follow each other, as an answer to a
/// query has them.
fn packets(payload: &Payload<'_>) -> Option<Identification> {
    const FEWEST: u32 = 3;
    let mut reader = Reader::new(payload.bytes);
    let (mut count, mut number) = (0_u32, None);
    while !reader.is_empty() {
        let [a, b, c, sequence] = reader.array()?;
        if number.is_some_and(|number: u8| sequence != number.wrapping_add(1)) || sequence == 0 {
            return None;
        }
        number = Some(sequence);
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        count += 1;
        if len == 0 || reader.take(len).is_none() {
            return None;
        }
    }
    (count >= FEWEST && !payload.is_cut()).then(|| {
        let mut details = Details::default();
        details.set("packets", count);
        let reason = "packets of MySQL: sizes that add up, and numbers that follow each other";
        Identification::confirmed(Verdict::Mysql, reason).with(details)
    })
}

/// A command whose argument is text: a database, a query, a statement to prepare.
fn command(reader: &mut Reader<'_>) -> Option<Identification> {
    let kind = reader.u8()?;
    let text = reader.rest();
    if text.len() < 4 || !crate::reader::is_plain_text(text) {
        return None;
    }
    let mut details = Details::default();
    match kind {
        0x02 => details.set_text("database", text),
        _ => details.set_content("query", crate::details::shown(text)),
    }
    let reason = "a command of a MySQL client: size, number, and text that fills the rest";
    Some(Identification::confirmed(Verdict::Mysql, reason).with(details))
}

/// What a server says of a command that returns nothing: rows, a status, and warnings.
fn acknowledgement(len: usize, content: &[u8]) -> Option<Identification> {
    let [0, _, _, status, 0, 0, 0] = *content else { return None };
    let is_right = len == 7 && matches!(status, 0..=3 | 0x22);
    is_right.then(|| {
        let reason = "a MySQL server's answer to a command: size, number, and a status";
        Identification::consistent(Verdict::Mysql, reason)
    })
}

/// An error instead of a greeting, to hosts that may not connect for instance.
fn refusal(reader: &mut Reader<'_>) -> Option<Identification> {
    reader.u8()?;
    let [low, high] = reader.array()?;
    let code = u16::from_le_bytes([low, high]);
    let message = reader.rest();
    if !(1000..=4999).contains(&code) || message.is_empty() || !is_printable(message) {
        return None;
    }
    let mut details = Details::default();
    details.set("error", code);
    details.set_text("message", message);
    Some(Identification::confirmed(Verdict::Mysql, "an error of a MySQL server").with(details))
}

/// The client's answer, or its wish for TLS.
fn login(reader: &mut Reader<'_>) -> Option<Identification> {
    const PROTOCOL_41: u32 = 0x0200;
    let capabilities = reader.le32()?;
    let _max_packet = reader.le32()?;
    let _character_set = reader.u8()?;
    let filler: [u8; 19] = reader.array()?;
    if capabilities & PROTOCOL_41 == 0 || filler != [0; 19] {
        return None;
    }
    // MariaDB's clients use the last four bytes of the filler.
    let _more_capabilities = reader.le32()?;
    let mut details = Details::default();
    details.set_some_text("user", reader.text_to_nul());
    let reason = "a MySQL client's answer to the greeting: size, capabilities, filler";
    Some(Identification::confirmed(Verdict::Mysql, reason).with(details))
}

const POSTGRESQL: u16 = 5432;

/// PostgreSQL's frontend/backend protocol, §55.7 of its manual.
pub(crate) fn postgresql(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    let is_home = payload.has_port(POSTGRESQL) && payload.wire_len == 1;
    if let ([answer @ (b'S' | b'N' | b'G')], true) = (payload.bytes, is_home) {
        let mut details = Details::default();
        details.set("encryption", if *answer == b'N' { "refused" } else { "accepted" });
        let reason = "one letter, by which PostgreSQL servers answer to the wish for encryption";
        return Some(Identification::consistent(Verdict::Postgresql, reason).with(details));
    }
    match payload.bytes.first()? {
        0 => startup(payload),
        b'R' | b'E' => answer(payload),
        b'Q' => query(payload),
        _ => None,
    }
}

fn startup(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    let is_whole = len == payload.wire_len;
    let [high, low] = [reader.be16()?, reader.be16()?];
    // Parameters begin with the user; without them the size must be right.
    let has_user = (high, low) == (3, 0) && reader.rest().starts_with(b"user\0");
    if !is_whole && !has_user {
        return None;
    }
    let mut details = Details::default();
    let request = match (high, low) {
        (3, 0..=2) => {
            parameters(&mut reader, &mut details);
            "startup"
        }
        (1234, 5678) => "cancel",
        (1234, 5679) => "TLS",
        (1234, 5680) => "GSS",
        _ => return None,
    };
    details.set("request", request);
    let reason = "a PostgreSQL client's first message: its size and its request code";
    let grade = if is_whole { Grade::Confirmed } else { Grade::Consistent };
    Some(Identification::new(Verdict::Postgresql, grade, reason).with(details))
}

fn parameters(reader: &mut Reader<'_>, details: &mut Details) {
    const MAX_PARAMETERS: usize = 16;
    for _ in 0..MAX_PARAMETERS {
        let Some(name) = reader.text_to_nul().filter(|name| !name.is_empty()) else { return };
        let Some(value) = reader.text_to_nul() else { return };
        match name {
            b"user" => details.set_text("user", value),
            b"database" => details.set_text("database", value),
            b"application_name" => details.set_some_text("application", Some(value)),
            _ => {}
        }
    }
}

/// A query as text, up to its zero.
fn query(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes.get(1..)?);
    let len = reader.be32()? as usize;
    let text = reader.text_to_nul()?;
    let is_right = len == text.len() + 5
        && len < payload.wire_len
        && text.len() >= 3
        && crate::reader::is_plain_text(text);
    is_right.then(|| {
        let mut details = Details::default();
        details.set_content("query", crate::details::shown(text));
        let reason = "a query of a PostgreSQL client: its kind, its size and its text";
        Identification::confirmed(Verdict::Postgresql, reason).with(details)
    })
}

/// How the server wants the client to prove itself, or why it refuses.
fn answer(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let kind = reader.u8()?;
    let len = reader.be32()? as usize;
    if len < 8 || len + 1 > payload.wire_len {
        return None;
    }
    let mut details = Details::default();
    match kind {
        b'R' => {
            let method = reader.be32()?;
            let name = match method {
                0 => Some("none"),
                3 => Some("password"),
                5 => Some("md5"),
                10 => Some("scram"),
                2 | 7 | 8 | 9 | 11 | 12 => None,
                _ => return None,
            };
            details.set("authentication", named(name, method as u8));
        }
        b'E' if reader.rest().starts_with(b"S") => {
            const SEVERITIES: [&[u8]; 3] = [b"FATAL", b"ERROR", b"PANIC"];
            reader.u8()?;
            let severity = reader.text_to_nul()?;
            // The word is translated; the field behind it is not.
            if !SEVERITIES.contains(&severity) && reader.peek()? != b'V' {
                return None;
            }
            details.set_text("severity", severity);
        }
        _ => return None,
    }
    let reason = "a PostgreSQL server's answer to a startup: kind, size and content agree";
    Some(Identification::confirmed(Verdict::Postgresql, reason).with(details))
}
