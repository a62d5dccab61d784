//! Caches: Redis and memcached.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::{Details, shown},
    reader::{Reader, first_line, is_printable, starts_with_ignoring_case},
};

/// The serialisation protocol of Redis (RESP), and its commands as lines.
pub(crate) fn redis(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    let bytes = payload.bytes;
    match bytes.first()? {
        b'*' | b'%' | b'~' | b'>' => aggregate(bytes),
        b'$' => bulk(bytes),
        b'+' | b'-' => status(bytes),
        b'A'..=b'Z' | b'a'..=b'z' => inline(bytes),
        _ => None,
    }
}

/// An array of strings is a command; an array or a map is also an answer.
fn aggregate(bytes: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    decimal_line(&mut reader)?;
    let kind = reader.u8()?;
    let len = decimal_line(&mut reader)?;
    let mut details = Details::default();
    if kind == b'$' && bytes[0] == b'*' {
        let first = reader.take(len.min(reader.rest().len()))?;
        if !is_printable(first) {
            return None;
        }
        details.set_some_text("command", Some(first));
    } else if !matches!(kind, b'$' | b':' | b'*' | b'%') {
        return None;
    }
    Some(
        Identification::confirmed(Verdict::Redis, "an array of RESP, Redis' protocol")
            .with(details),
    )
}

fn bulk(bytes: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let len =
        if bytes.starts_with(b"$-1\r\n") { return nothing() } else { decimal_line(&mut reader)? };
    // INFO, which is longer than a segment.
    if reader.rest().starts_with(b"# Server\r\nredis_version:") {
        let mut details = Details::default();
        let version = reader.rest().get(24..).map(first_line);
        details.set_some_text("version", version);
        let reason = "what a Redis server says of itself";
        return Some(Identification::confirmed(Verdict::Redis, reason).with(details));
    }
    let is_whole = reader.take(len).is_some() && reader.rest() == b"\r\n";
    is_whole.then(|| {
        Identification::confirmed(Verdict::Redis, "a bulk string of RESP, whose size agrees")
    })
}

fn nothing() -> Option<Identification> {
    Some(Identification::consistent(Verdict::Redis, "the null of RESP, Redis' protocol"))
}

/// Digits up to the end of the line.
fn decimal_line(reader: &mut Reader<'_>) -> Option<usize> {
    let line = first_line(reader.rest());
    if line.is_empty() || line.len() > 9 || !line.iter().all(u8::is_ascii_digit) {
        return None;
    }
    reader.take(line.len())?;
    (reader.take(2)? == b"\r\n").then_some(())?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Answers that other protocols do not have: mail servers say `+OK` with words behind it.
fn status(bytes: &[u8]) -> Option<Identification> {
    const ERRORS: [&[u8]; 16] = [
        b"-MISCONF ",
        b"-LOADING Redis",
        b"-READONLY ",
        b"-WRONGTYPE ",
        b"-EXECABORT ",
        b"-CLUSTERDOWN ",
        b"-ASK ",
        b"-CROSSSLOT ",
        b"-NOSCRIPT ",
        b"-ERR unknown command",
        b"-NOAUTH ",
        b"-DENIED Redis",
        b"-WRONGPASS ",
        b"-NOPERM ",
        b"-MOVED ",
        b"-ERR wrong number of arg",
    ];
    // Several answers may share a segment.
    let rest = bytes.strip_prefix(b"+OK\r\n").or_else(|| bytes.strip_prefix(b"+PONG\r\n"));
    let is_answer =
        rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b'$' | b':' | b'*' | b'-', ..]));
    let is_error = ERRORS.into_iter().any(|error| bytes.starts_with(error));
    if !is_answer && !is_error {
        return None;
    }
    let mut details = Details::default();
    details.set_text("answer", first_line(bytes));
    let grade = if is_error { Grade::Confirmed } else { Grade::Consistent };
    Some(Identification::new(Verdict::Redis, grade, "an answer of Redis").with(details))
}

fn inline(bytes: &[u8]) -> Option<Identification> {
    // AUTH is not among them: mail and FTP have it as well.
    const COMMANDS: [&[u8]; 16] = [
        b"ping\r\n",
        b"info\r\n",
        b"config get ",
        b"config set ",
        b"config rewrite\r\n",
        b"slaveof ",
        b"replicaof ",
        b"command\r\n",
        b"flushall\r\n",
        b"flushdb\r\n",
        b"dbsize\r\n",
        b"keys *",
        b"client list\r\n",
        b"module load ",
        b"eval \"",
        b"bgsave\r\n",
    ];
    let line = first_line(bytes);
    // A client may send many commands at once.
    let is_pipeline = bytes.len() > 6 && starts_with_ignoring_case(bytes, b"ping\r\n");
    let is_line = (bytes.len() == line.len() + 2 || is_pipeline) && is_printable(line);
    let is_command = COMMANDS.into_iter().any(|command| starts_with_ignoring_case(bytes, command));
    // Three words of `set`; memcached has five.
    let is_set = starts_with_ignoring_case(bytes, b"set ")
        && line.iter().filter(|byte| **byte == b' ').count() == 2;
    (is_line && (is_command || is_set)).then(|| {
        let mut details = Details::default();
        details.set_text("command", line.split(|byte| *byte == b' ').next().unwrap_or(line));
        Identification::consistent(Verdict::Redis, "a line with a command of Redis").with(details)
    })
}

/// memcached's text and binary protocols, and its frames on UDP; `doc/protocol.txt`.
pub(crate) fn memcached(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes.first()? {
        0x80 | 0x81 => binary(payload),
        b'a'..=b'z' | b'A'..=b'Z' => text(payload.bytes).or_else(|| at_home(payload)),
        _ => None,
    }
    .or_else(|| frame(payload))
}

fn binary(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [magic, opcode] = reader.array()?;
    let key = u32::from(reader.be16()?);
    let [extras, data_type] = reader.array()?;
    let _status_or_bucket = reader.be16()?;
    let body = reader.be32()?;
    let _opaque_and_version: [u8; 12] = reader.array()?;
    let fits = body as usize + 24 == payload.wire_len && key + u32::from(extras) <= body;
    if !fits || data_type != 0 || opcode > 0x48 || extras > 20 {
        return None;
    }
    let mut details = Details::default();
    details.set("opcode", opcode);
    details.set("role", if magic == 0x80 { "request" } else { "response" });
    let reason = "a binary message of memcached, whose sizes agree";
    Some(Identification::confirmed(Verdict::Memcached, reason).with(details))
}

fn text(bytes: &[u8]) -> Option<Identification> {
    const WORDS: [&[u8]; 12] = [
        b"get ",
        b"gets ",
        b"set ",
        b"add ",
        b"stats\r\n",
        b"stats ",
        b"version\r\n",
        b"VERSION ",
        b"STAT ",
        b"flush_all",
        b"STORED\r\n",
        b"VALUE ",
    ];
    let word = WORDS.into_iter().find(|word| bytes.starts_with(word))?;
    let line = first_line(bytes);
    let fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let is_end = bytes.get(line.len()..line.len() + 2) == Some(b"\r\n");
    let is_right = match word {
        // A key, flags, when it expires, and its size.
        b"set " | b"add " => {
            matches!(fields.clone().count(), 5 | 6)
                && fields.skip(2).all(|field| {
                    field == b"noreply"
                        || field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
                })
        }
        b"VERSION " => line.get(8).is_some_and(u8::is_ascii_digit),
        b"STAT " => fields.count() >= 3,
        _ => true,
    };
    if !is_end || !is_right || !is_printable(line) {
        return None;
    }
    let mut details = Details::default();
    details.set_content("line", shown(line));
    let reason = "a line of memcached's text protocol";
    Some(Identification::consistent(Verdict::Memcached, reason).with(details))
}

/// Lines that are words of other protocols as well, on memcached's port.
fn at_home(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 11211;
    const WORDS: [&[u8]; 17] = [
        b"delete ",
        b"incr ",
        b"decr ",
        b"touch ",
        b"append ",
        b"prepend ",
        b"replace ",
        b"cas ",
        b"mg ",
        b"ms ",
        b"mn\r\n",
        b"quit\r\n",
        b"END\r\n",
        b"DELETED\r\n",
        b"NOT_FOUND\r\n",
        b"ERROR\r\n",
        b"CLIENT_ERROR ",
    ];
    let bytes = payload.bytes;
    let line = first_line(bytes);
    let is_end = bytes.get(line.len()..line.len() + 2) == Some(b"\r\n");
    if !payload.has_port(PORT) || !is_end || !WORDS.into_iter().any(|word| bytes.starts_with(word))
    {
        return None;
    }
    let mut details = Details::default();
    details.set_content("line", shown(line));
    let reason = "a line of memcached's text protocol, on its port";
    Some(Identification::consistent(Verdict::Memcached, reason).with(details))
}

/// On UDP a frame of eight bytes precedes the text: request, number, count, reserved.
fn frame(payload: &Payload<'_>) -> Option<Identification> {
    let (frame, rest) = payload.bytes.split_first_chunk::<8>()?;
    let [_, _, 0, _, 0, 1..=255, 0, 0] = *frame else { return None };
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut identification = text(rest)?;
    identification.grade = Grade::Confirmed;
    identification.reason = "memcached's frame for UDP, and a line of its text protocol".into();
    Some(identification)
}
