//! Devices and their management: SSDP, CoAP, IPMI, TFTP and DHCP.

use crate::{
    Grade, Identification, Payload, Verdict,
    details::{Details, shown},
    reader::{Reader, first_line, is_printable},
};

/// Simple Service Discovery Protocol of UPnP: HTTP's lines in datagrams.
pub(crate) fn ssdp(payload: &Payload<'_>) -> Option<Identification> {
    let line = first_line(payload.bytes).trim_ascii_end();
    let message = match line {
        b"M-SEARCH * HTTP/1.1" | b"M-SEARCH * HTTP/1.0" => "search",
        b"NOTIFY * HTTP/1.1" | b"NOTIFY * HTTP/1.0" => "notification",
        _ if line.starts_with(b"HTTP/1.1 200") && has_fields(payload.bytes) => "answer",
        _ => return None,
    };
    let mut details = Details::default();
    details.set("message", message);
    for (name, wanted) in [
        ("search_target", &b"st"[..]),
        ("type", b"nt"),
        ("location", b"location"),
        ("server", b"server"),
        ("user_agent", b"user-agent"),
    ] {
        details.set_some_text(name, field(payload.bytes, wanted));
    }
    let reason = "the first line of SSDP, by which devices are found";
    Some(Identification::confirmed(Verdict::Ssdp, reason).with(details))
}

/// Whether an answer has the fields that only SSDP has.
fn has_fields(bytes: &[u8]) -> bool {
    field(bytes, b"usn").is_some() || field(bytes, b"st").is_some()
}

/// The value of a field; `name` is in lower case.
fn field<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    bytes.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (field, value) = line.split_at_checked(name.len())?;
        let value = value.trim_ascii_start().strip_prefix(b":")?;
        field.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
    })
}

/// Constrained Application Protocol, RFC 7252 §3: version, code, token, and options to the end.
pub(crate) fn coap(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 5683;
    let mut reader = Reader::new(payload.bytes);
    let [head, code] = reader.array()?;
    let _message = reader.be16()?;
    let token_len = usize::from(head & 15);
    if head >> 6 != 1 || token_len > 8 || payload.is_cut() {
        return None;
    }
    let home = if payload.has_port(PORT) { 8 } else { 0 };
    let kind =
        ["confirmable", "not confirmable", "acknowledgement", "reset"][usize::from(head >> 4 & 3)];
    if code == 0 {
        // A ping, an acknowledgement or a reset: four bytes.
        if payload.wire_len != 4 || token_len != 0 {
            return None;
        }
        let reason = "an empty message of CoAP: four bytes without code and token";
        return Identification::graded(Verdict::Coap, 6 + 8 + home, reason);
    }
    let is_code = matches!(code, 1..=7 | 0x40..=0x45 | 0x5f | 0x80..=0x8f | 0x9d | 0xa0..=0xa5);
    if !is_code {
        return None;
    }
    reader.take(token_len)?;
    let options = Options::read(&mut reader)?;
    let bits = 6 + 3 + options.bits + home;
    let reason = "a message of CoAP: version, code, token, and options that are read to the end";
    let found = Identification::graded(Verdict::Coap, bits, reason)?;
    let mut details = Details::default();
    details.set("type", kind);
    let methods = ["", "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"];
    match methods.get(usize::from(code)) {
        Some(method) => details.set("method", *method),
        None => details.set("code", format!("{}.{:02}", code >> 5, code & 31)),
    }
    details.set_some_text("host", options.host);
    if let Some(path) = options.path(payload.bytes, token_len) {
        details.set_address("path", path.as_bytes());
    }
    Some(found.with(details))
}

/// Options of CoAP: the difference of their numbers, a length, and a value.
#[derive(Default)]
struct Options<'a> {
    host: Option<&'a [u8]>,
    has_path: bool,
    bits: u32,
}

impl<'a> Options<'a> {
    const URI_HOST: u32 = 3;
    const URI_PATH: u32 = 11;
    const PAYLOAD_MARKER: u8 = 0xff;

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut options = Self::default();
        let mut number = 0;
        while let Some((next, value)) = Self::option(reader, number)? {
            number = next;
            let is_text = !value.is_empty() && is_printable(value);
            options.bits += match number {
                Self::URI_HOST | Self::URI_PATH | 15 | 8 | 20 | 35 if is_text => {
                    6 + value.len().min(12) as u32
                }
                Self::URI_HOST | 15 | 8 | 35 => return None,
                Self::URI_PATH if value.is_empty() => 4,
                // Numbers of at most four bytes, tags of at most eight.
                6 | 7 | 12 | 14 | 17 | 23 | 27 | 28 | 60 if value.len() <= 4 => 6,
                1 | 4 | 9 | 252 | 292 if value.len() <= 40 => 4,
                // Options of later registrations.
                5 | 16 | 19 | 21 | 258 | 2048.. => 1,
                // Drafts numbered them otherwise.
                _ if is_text && value.len() >= 4 => 4 + value.len().min(8) as u32,
                _ => return None,
            };
            match number {
                Self::URI_HOST => options.host = Some(value),
                Self::URI_PATH => options.has_path = true,
                _ => {}
            }
        }
        Some(options)
    }

    /// The next option; nothing at the end or at the marker, which a payload must follow.
    fn option(reader: &mut Reader<'a>, number: u32) -> Option<Option<(u32, &'a [u8])>> {
        let Some(head) = reader.u8() else { return Some(None) };
        if head == Self::PAYLOAD_MARKER {
            return (!reader.is_empty()).then_some(None);
        }
        let delta = Self::extended(reader, head >> 4)?;
        let len = Self::extended(reader, head & 15)? as usize;
        Some(Some((number + delta, reader.take(len)?)))
    }

    fn extended(reader: &mut Reader<'_>, nibble: u8) -> Option<u32> {
        match nibble {
            13 => Some(u32::from(reader.u8()?) + 13),
            14 => Some(u32::from(reader.be16()?) + 269),
            15 => None,
            short => Some(short.into()),
        }
    }

    /// The segments of the path, put together.
    fn path(&self, bytes: &'a [u8], token_len: usize) -> Option<String> {
        if !self.has_path {
            return None;
        }
        let mut reader = Reader::new(bytes.get(4 + token_len..)?);
        let (mut path, mut number) = (String::new(), 0);
        while let Some(Some((next, value))) = Self::option(&mut reader, number) {
            number = next;
            if number == Self::URI_PATH {
                path.push('/');
                path.push_str(&shown(value));
            }
        }
        Some(path)
    }
}

/// Remote Management Control Protocol, IPMI 2.0 §13: version 6, and ASF's or IPMI's message.
pub(crate) fn ipmi(payload: &Payload<'_>) -> Option<Identification> {
    let &[6, 0, sequence, class, ref rest @ ..] = payload.bytes else { return None };
    let mut details = Details::default();
    let (bits, reason) = match (class & 0x1f, rest) {
        (6, [0, 0, 0x11, 0xbe, kind, ..]) => {
            let message = match kind {
                0x80 => "presence ping",
                0x40 => "presence pong",
                0x10 => "reset",
                0x11 => "power up",
                0x12 => "power down",
                _ => "other",
            };
            details.set("message", message);
            (16 + 3 + 32, "a message of ASF inside RMCP, by which management controllers are found")
        }
        // Version 1.5: authentication, sequence, session, an integrity code, length, message.
        (7, [method @ (0 | 1 | 2 | 4 | 5), rest @ ..]) => {
            let code = if *method == 0 { 0 } else { 16 };
            let len = usize::from(*rest.get(8 + code)?);
            let total = 4 + 1 + 8 + code + 1 + len;
            let is_whole = total == payload.wire_len || total + 1 == payload.wire_len;
            let message = rest.get(8 + code + 1..)?;
            if !is_whole {
                return None;
            }
            details.set("version", "1.5");
            if let [_, function, _, _, _, command, ..] = *message {
                details.set("function", function >> 2);
                details.set("command", command_name(function >> 2, command));
            }
            (16 + 3 + 5 + 8, "a message of IPMI 1.5 inside RMCP, whose length agrees")
        }
        (7, [6, kind, ..]) => {
            let kinds = match kind & 0x3f {
                0 => "IPMI message",
                0x10 => "open session request",
                0x11 => "open session response",
                0x12 => "RAKP 1",
                0x13 => "RAKP 2",
                0x14 => "RAKP 3",
                0x15 => "RAKP 4",
                _ => return None,
            };
            details.set("version", "2.0");
            details.set("message", kinds);
            (16 + 3 + 8 + 5, "a message of IPMI 2.0 inside RMCP")
        }
        _ => return None,
    };
    let of_sequence = if sequence == 0xff { 7 } else { 0 };
    Some(Identification::graded(Verdict::Ipmi, bits + of_sequence, reason)?.with(details))
}

fn command_name(function: u8, command: u8) -> String {
    match (function, command) {
        (6, 0x38) => "get channel authentication capabilities".to_owned(),
        (6, 0x01) => "get device id".to_owned(),
        (6, 0x39) => "get session challenge".to_owned(),
        (6, 0x54) => "get channel cipher suites".to_owned(),
        _ => format!("0x{command:02x}"),
    }
}

/// Trivial File Transfer Protocol, RFC 1350 §5 and RFC 2347.
pub(crate) fn tftp(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 69;
    let mut reader = Reader::new(payload.bytes);
    let opcode = reader.be16()?;
    let mut details = Details::default();
    let (grade, reason) = match opcode {
        1 | 2 => {
            let file = reader.text_to_nul()?;
            let mode = reader.text_to_nul()?;
            let is_mode = [&b"octet"[..], b"netascii", b"mail"]
                .into_iter()
                .any(|known| mode.eq_ignore_ascii_case(known));
            if !is_mode || file.iter().any(|byte| *byte < 0x20) {
                return None;
            }
            details.set("request", if opcode == 1 { "read" } else { "write" });
            details.set_text("file", file);
            details.set_text("mode", mode);
            (Grade::Confirmed, "a request of TFTP: a file, then a mode of transfer")
        }
        5 => {
            let code @ 0..=8 = reader.be16()? else { return None };
            let message = reader.text_to_nul()?;
            if !reader.is_empty() || message.len() < 4 || !is_printable(message) {
                return None;
            }
            details.set("error", code);
            details.set_text("message", message);
            (Grade::Confirmed, "an error of TFTP: a code, and a text that ends the payload")
        }
        6 => {
            let (option, value) = (reader.text_to_nul()?, reader.text_to_nul()?);
            let is_option = [&b"blksize"[..], b"tsize", b"timeout", b"windowsize", b"multicast"]
                .into_iter()
                .any(|known| option.eq_ignore_ascii_case(known));
            if !is_option || !is_printable(value) {
                return None;
            }
            details.set_text("option", option);
            (Grade::Confirmed, "an acknowledgement of TFTP's options")
        }
        // Data and acknowledgements say nothing of themselves.
        3 if payload.has_port(PORT) => (Grade::Suspect, "data of TFTP, on its port"),
        // From a port of their own, which servers take.
        3 if payload.wire_len == 516 && matches!(reader.be16()?, 1..=8) => {
            (Grade::Consistent, "one of the first blocks of a file, of TFTP's size")
        }
        4 if payload.has_port(PORT) && payload.wire_len == 4 => {
            (Grade::Consistent, "an acknowledgement of TFTP, on its port")
        }
        4 if payload.wire_len == 4 && reader.be16()? <= 255 => {
            (Grade::Suspect, "four bytes, with which TFTP acknowledges one of the first blocks")
        }
        _ => return None,
    };
    Some(Identification::new(Verdict::Tftp, grade, reason).with(details))
}

/// DHCP and BOOTP, RFC 2131 §2: a magic cookie behind 236 bytes. DHCPv6, RFC 8415 §8: options that
/// are read to the end.
pub(crate) fn dhcp(payload: &Payload<'_>) -> Option<Identification> {
    const COOKIE_AT: usize = 236;
    const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
    let bytes = payload.bytes;
    let is_boot = matches!(bytes, [1 | 2, 1 | 6, 6, 0..=16, ..]);
    let Some(rest) = bytes.get(COOKIE_AT..).filter(|_| is_boot) else {
        return if is_boot && payload.has_port(67) && payload.is_cut() {
            Identification::graded(Verdict::Dhcp, 24, "the beginning of BOOTP, on its port")
        } else {
            dhcp6(payload)
        };
    };
    let mut details = Details::default();
    let operation = if bytes[0] == 1 { "request" } else { "reply" };
    details.set("operation", operation);
    let address: Vec<String> = bytes[28..34].iter().map(|byte| format!("{byte:02x}")).collect();
    details.set("hardware_address", address.join(":"));
    let Some(options) = rest.strip_prefix(&COOKIE) else {
        let is_zero = bytes[44..COOKIE_AT].iter().filter(|byte| **byte == 0).count() > 150;
        let found = Identification::consistent(Verdict::Dhcp, "a message of BOOTP without options");
        return (is_zero && payload.wire_len >= 300).then(|| found.with(details));
    };
    describe_options(options, &mut details);
    let reason = "the magic cookie of DHCP";
    Some(Identification::confirmed(Verdict::Dhcp, reason).with(details))
}

fn describe_options(options: &[u8], details: &mut Details) -> Option<()> {
    const PAD: u8 = 0;
    const END: u8 = 255;
    const MESSAGES: [&str; 9] =
        ["", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];
    let mut reader = Reader::new(options);
    for _ in 0..64 {
        let code = reader.u8()?;
        if code == PAD {
            continue;
        }
        if code == END {
            break;
        }
        let value = reader.block8()?;
        match (code, value) {
            (53, [kind]) => details.set_known("message", MESSAGES.get(usize::from(*kind)).copied()),
            (12, _) => details.set_some_text("host", Some(value)),
            (60, _) => details.set_some_text("vendor", Some(value)),
            _ => {}
        }
    }
    Some(())
}

fn dhcp6(payload: &Payload<'_>) -> Option<Identification> {
    const MESSAGES: [&str; 16] = [
        "",
        "solicit",
        "advertise",
        "request",
        "confirm",
        "renew",
        "rebind",
        "reply",
        "release",
        "decline",
        "reconfigure",
        "information request",
        "relay forward",
        "relay reply",
        "lease query",
        "lease query reply",
    ];
    let mut reader = Reader::new(payload.bytes);
    let kind @ 1..=15 = reader.u8()? else { return None };
    if matches!(kind, 12 | 13) {
        // A relay: hops and two addresses.
        reader.take(33)?;
    } else {
        reader.be24()?;
    }
    let (mut bits, mut count, mut has_identifier) = (0, 0, false);
    while !reader.is_empty() {
        let code @ 1..=143 = reader.be16()? else { return None };
        let value = reader.block16()?;
        // Identifiers of client and server have a type of their own.
        if matches!(code, 1 | 2) {
            let [0, 1..=4, ..] = value else { return None };
            has_identifier = true;
        }
        bits += 9;
        count += 1;
    }
    let of_identifier = if has_identifier { 14 } else { 0 };
    if count == 0 || payload.is_cut() {
        return None;
    }
    let home = if payload.has_port(546) || payload.has_port(547) { 8 } else { 0 };
    let reason = "a message of DHCPv6, whose options are read to the end";
    let found = Identification::graded(Verdict::Dhcp, 4 + bits + of_identifier + home, reason)?;
    let mut details = Details::default();
    details.set("version", 6);
    details.set("message", MESSAGES[usize::from(kind)]);
    Some(found.with(details))
}
