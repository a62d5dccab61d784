//! Message brokers: MQTT, AMQP, NATS, STOMP and ZeroMQ.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, find, first_line, is_plain_text},
};

/// MQTT 3.1, 3.1.1 and 5, §3.1 and §3.2.
pub(crate) fn mqtt(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes {
        [0x10, ..] => connect(payload),
        // The flags of an acknowledgement, and whether the connection was accepted.
        [0x20, 2, 0 | 1, code @ 0..=5] if payload.may_be(Protocol::Tcp) => {
            let mut details = Details::default();
            details.set("return_code", *code);
            let reason = "an MQTT broker's answer to a connection";
            Some(Identification::consistent(Verdict::Mqtt, reason).with(details))
        }
        // Version 5 has properties behind it, which fill the rest.
        [0x20, len, 0 | 1, 0 | 0x80..=0xff, properties, ..]
            if payload.may_be(Protocol::Tcp)
                && usize::from(*len) + 2 == payload.wire_len
                && *len >= 3
                && *properties == *len - 3 =>
        {
            let reason = "an MQTT 5 broker's answer to a connection: its sizes agree";
            Some(Identification::consistent(Verdict::Mqtt, reason))
        }
        [0x30..=0x3d, ..] => publish(payload),
        [0x82 | 0xa2, ..] => subscribe(payload),
        [0xc0 | 0xd0 | 0xe0, 0] if payload.may_be(Protocol::Tcp) && payload.wire_len == 2 => {
            let reason = "two bytes, which are MQTT's ping, the answer to it, or a goodbye";
            Some(Identification::suspect(Verdict::Mqtt, reason))
        }
        [0x40 | 0x50 | 0x62 | 0x70, 2, high, low] if payload.wire_len == 4 => {
            let is_number = u16::from_be_bytes([*high, *low]) != 0;
            let reason = "four bytes, with which MQTT acknowledges a message";
            is_number.then(|| Identification::suspect(Verdict::Mqtt, reason))
        }
        _ => None,
    }
}

/// A message: its size, then a topic behind its length.
fn publish(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    reader.u8()?;
    let mut len = 0;
    for shift in [0, 7, 14] {
        let byte = reader.u8()?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let header = payload.bytes.len() - reader.rest().len();
    let topic = reader.block16()?;
    let is_topic = topic.len() >= 3 && topic.iter().all(|byte| byte.is_ascii_graphic());
    if !is_topic || len < topic.len() + 2 || len + header < payload.wire_len {
        return None;
    }
    let of_size = if len + header == payload.wire_len { 10 } else { 0 };
    let reason = "a message of MQTT: its size, and a topic";
    let bits = 3 + 8 + of_size + topic.len().min(12) as u32;
    let found = Identification::graded(Verdict::Mqtt, bits, reason)?;
    let mut details = Details::default();
    details.set("message", "PUBLISH");
    details.set_text("topic", topic);
    Some(found.with(details))
}

/// Topics that a client subscribes to, §3.8, or no longer, §3.10: they fill the rest.
fn subscribe(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let kind = reader.u8()?;
    let len = usize::from(reader.u8()?);
    let message = reader.be16()?;
    // Version 5 has properties first, most often none.
    if reader.rest().starts_with(&[0, 0]) {
        reader.u8()?;
    }
    let topic = reader.block16()?;
    let is_topic = !topic.is_empty() && topic.iter().all(|byte| byte.is_ascii_graphic());
    let is_end = if kind == 0x82 { reader.u8()? & 3 < 3 } else { true };
    if len + 2 != payload.wire_len || message == 0 || !is_topic || !is_end {
        return None;
    }
    let reason = "a subscription of MQTT: its size, its number, and a topic";
    let bits = 8 + 8 + 8 + topic.len().min(12) as u32;
    let found = Identification::graded(Verdict::Mqtt, bits, reason)?;
    let mut details = Details::default();
    details.set("message", if kind == 0x82 { "SUBSCRIBE" } else { "UNSUBSCRIBE" });
    details.set_text("topic", topic);
    Some(found.with(details))
}

fn connect(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    reader.u8()?;
    // The remaining length: seven bits a byte, the lowest first.
    let more = reader.rest().iter().take(3).take_while(|byte| **byte & 0x80 != 0).count();
    reader.take(more + 1)?;
    let name = reader.block16()?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return None;
    }
    let level = reader.u8()?;
    let _flags = reader.u8()?;
    let _keep_alive = reader.be16()?;
    let mut details = Details::default();
    details.set("protocol_level", level);
    // Version 5 has properties here, behind their size.
    if level >= 5 {
        reader.block8();
    }
    details.set_some_text("client_id", reader.block16());
    let reason = "an MQTT client's connection with the protocol's name";
    Some(Identification::confirmed(Verdict::Mqtt, reason).with(details))
}

/// AMQP 0-9-1 §4.2 and 1.0 §2.2: name, protocol and version, then frames.
pub(crate) fn amqp(payload: &Payload<'_>) -> Option<Identification> {
    let Some([id @ 0..=3, major, minor, revision, ..]) = payload.bytes.strip_prefix(b"AMQP") else {
        return frames(payload).or_else(|| frame_of_1_0(payload));
    };
    let mut details = Details::default();
    let version = match (id, major) {
        (0, 0) => format!("{major}-{minor}-{revision}"),
        _ => format!("{major}.{minor}.{revision}"),
    };
    details.set("version", version);
    Some(Identification::confirmed(Verdict::Amqp, "the header of AMQP").with(details))
}

/// Frames of AMQP 0-9-1: type, channel, size, and a byte at the end.
fn frames(payload: &Payload<'_>) -> Option<Identification> {
    const END: u8 = 0xce;
    const METHOD: u8 = 1;
    const HEARTBEAT: u8 = 8;
    let mut reader = Reader::new(payload.bytes);
    let kind = reader.u8()?;
    let channel = reader.be16()?;
    let len = reader.be32()? as usize;
    if !matches!(kind, METHOD..=3 | HEARTBEAT) || len > 1 << 20 || channel > 4096 {
        return None;
    }
    let content = reader.rest();
    // Classes are multiples of ten.
    let class = match (kind, content) {
        (METHOD, [class_high, class_low, method_high, method_low, ..]) => {
            let class = u16::from_be_bytes([*class_high, *class_low]);
            let method = u16::from_be_bytes([*method_high, *method_low]);
            let is_assigned =
                matches!(class, 10 | 20 | 30 | 40 | 50 | 60 | 85 | 90) && method <= 121;
            Some(is_assigned.then_some((class, method))?)
        }
        (HEARTBEAT, _) if len != 0 => return None,
        _ => None,
    };
    let of_end = match content.get(len) {
        Some(&END) => 8,
        Some(_) => return None,
        None if len < payload.missing() + content.len() => 0,
        // The frame goes on in another segment.
        None if payload.may_be(Protocol::Tcp) && content.len() > 8 => 0,
        None => return None,
    };
    let of_size = if len + 8 == payload.wire_len { 12 } else { 0 };
    let of_class = if class.is_some() { 24 } else { 0 };
    let bits = 6 + 4 + 8 + of_end + of_size + of_class;
    let reason = "a frame of AMQP 0-9-1: type, channel, size, content and its last byte";
    let found = Identification::graded(Verdict::Amqp, bits, reason)?;
    let mut details = Details::default();
    let names = ["", "method", "header", "body"];
    details.set("frame", names.get(usize::from(kind)).copied().unwrap_or("heartbeat"));
    details.set("channel", channel);
    if let Some((class, method)) = class {
        details.set("method", format!("{class}.{method}"));
    }
    Some(found.with(details))
}

/// A frame of AMQP 1.0, §2.3: size, offset of its content, type, channel, and a performative.
fn frame_of_1_0(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    let [offset, kind] = reader.array()?;
    let _channel = reader.be16()?;
    let [0, 0x53, performative, ..] = *reader.rest() else { return None };
    let is_performative = match kind {
        0 => (0x10..=0x18).contains(&performative),
        1 => (0x40..=0x44).contains(&performative),
        _ => false,
    };
    let is_right = offset == 2 && is_performative && len >= 11 && len <= payload.wire_len;
    is_right.then(|| {
        let reason = "a frame of AMQP 1.0: size, offset, type, and a performative";
        Identification::confirmed(Verdict::Amqp, reason)
    })
}

/// NATS: words of a client and a server, with JSON behind the first of each.
pub(crate) fn nats(payload: &Payload<'_>) -> Option<Identification> {
    let line = first_line(payload.bytes);
    let start = &line[..line.len().min(512)];
    let mut details = Details::default();
    let grade = if let Some(json) = start.strip_prefix(b"INFO ") {
        if !is_object_with_any(json, &[b"\"server_id\"", b"\"max_payload\""]) {
            return None;
        }
        details.set("message", "INFO");
        details.set_some_text("version", member(json, b"\"version\":"));
        details.set_some_text("server_name", member(json, b"\"server_name\":"));
        Grade::Confirmed
    } else if let Some(json) = start.strip_prefix(b"CONNECT ") {
        if !is_object_with_any(json, &[b"\"verbose\"", b"\"pedantic\""]) {
            return None;
        }
        details.set("message", "CONNECT");
        details.set_some_text("name", member(json, b"\"name\":"));
        details.set_some_text("user", member(json, b"\"user\":"));
        Grade::Confirmed
    } else if let Some(error) =
        start.strip_prefix(b"-ERR '").and_then(|text| text.strip_suffix(b"'"))
    {
        // Redis and POP3 do not put theirs between quotes.
        details.set("message", "-ERR");
        details.set_text("error", error);
        Grade::Consistent
    } else {
        let mut words = start.split(|byte| *byte == b' ');
        let word = words.next()?;
        let subject = words.next()?;
        let last = words.next_back()?;
        let is_number = !last.is_empty() && last.iter().all(u8::is_ascii_digit);
        let is_subject = subject.iter().any(|byte| byte.is_ascii_alphabetic() || *byte == b'*');
        if !matches!(word, b"PUB" | b"SUB" | b"MSG" | b"HPUB") || !is_subject || !is_number {
            return None;
        }
        // Behind as many bytes as it says, a message has an end of line.
        if word != b"SUB" && !ends_its_message(&payload.bytes[line.len()..], last) {
            return None;
        }
        details.set_text("message", word);
        details.set_text("subject", subject);
        Grade::Consistent
    };
    Some(Identification::new(Verdict::Nats, grade, "a message of NATS").with(details))
}

/// Whether the text behind a line, as far as it is there, is a message of that size and its end.
fn ends_its_message(rest: &[u8], size: &[u8]) -> bool {
    const END: &[u8] = b"\r\n";
    let size = str::from_utf8(size).ok().and_then(|size| size.parse::<usize>().ok());
    let end = size.and_then(|size| rest.get(size.checked_add(END.len())?..));
    end.is_none_or(|end| end.is_empty() || end.starts_with(END) || END.starts_with(end))
}

/// Whether it begins as an object of JSON does, and has one of `members`.
fn is_object_with_any(json: &[u8], members: &[&[u8]]) -> bool {
    json.trim_ascii_start().starts_with(b"{") && members.iter().any(|name| contains(json, name))
}

/// The text of a member of JSON.
fn member<'a>(json: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = find(json, name)?;
    let value = json[at + name.len()..].trim_ascii_start().strip_prefix(b"\"")?;
    Some(&value[..value.iter().position(|byte| *byte == b'"')?])
}

/// STOMP 1.2: a command, headers, an empty line, a body and a zero.
pub(crate) fn stomp(payload: &Payload<'_>) -> Option<Identification> {
    const COMMANDS: [&[u8]; 13] = [
        b"STOMP",
        b"CONNECT",
        b"CONNECTED",
        b"SEND",
        b"SUBSCRIBE",
        b"UNSUBSCRIBE",
        b"MESSAGE",
        b"RECEIPT",
        b"ERROR",
        b"DISCONNECT",
        b"ACK",
        b"NACK",
        b"BEGIN",
    ];
    let command = first_line(payload.bytes);
    if !COMMANDS.contains(&command) {
        return None;
    }
    let rest = &payload.bytes[command.len()..];
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
    let headers = || {
        let lines = rest.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        lines.take_while(|line| !line.is_empty() && *line != b"\0")
    };
    let is_header = |line: &[u8]| line.contains(&b':') && is_plain_text(line);
    let has_end = payload.bytes.contains(&0);
    if !headers().all(is_header) || (headers().next().is_none() && !has_end) {
        return None;
    }
    let mut details = Details::default();
    details.set_text("command", command);
    for line in headers() {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = match &line[..colon] {
            b"login" => "user",
            b"server" => "server",
            b"destination" => "destination",
            b"accept-version" | b"version" => "version",
            _ => continue,
        };
        details.set_some_text(name, line.get(colon + 1..));
    }
    let grade = if has_end { Grade::Confirmed } else { Grade::Consistent };
    let reason = "a frame of STOMP: a command and headers";
    Some(Identification::new(Verdict::Stomp, grade, reason).with(details))
}

/// ZeroMQ's greeting, RFC 23 of the ZeroMQ project: a signature of ten bytes, version, mechanism.
pub(crate) fn zmtp(payload: &Payload<'_>) -> Option<Identification> {
    const MECHANISM_LEN: usize = 20;
    let [0xff, padding @ .., 0x7f] = payload.bytes.first_chunk::<10>()? else { return None };
    // Zeros, or the length of an identity as version 2 has it.
    if padding[..7] != [0; 7] {
        return None;
    }
    let mut reader = Reader::new(&payload.bytes[10..]);
    let mut details = Details::default();
    match reader.u8() {
        Some(major @ 3..=9) => {
            let minor = reader.u8().unwrap_or(0);
            details.set("version", format!("{major}.{minor}"));
            let mechanism = reader.take(MECHANISM_LEN);
            let name = mechanism.and_then(|name| name.split(|byte| *byte == 0).next());
            details.set_some_text("mechanism", name);
        }
        Some(major) => details.set("version", major),
        None => {}
    }
    let reason = "the greeting of ZeroMQ";
    Some(Identification::confirmed(Verdict::Zmtp, reason).with(details))
}
