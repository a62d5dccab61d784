//! Calls and their ways through NAT: SIP and STUN.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    evidence::Evidence,
    reader::{Reader, contains, first_line},
};

/// RFC 3261 §7.
pub(crate) fn sip(payload: &Payload<'_>) -> Option<Identification> {
    // RFC 3261 §7.5: empty lines in front are skipped, which also keep connections alive.
    let mut bytes = payload.bytes;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    if !bytes.first()?.is_ascii_uppercase() {
        return None;
    }
    let line = first_line(bytes);
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        let mut details = Details::default();
        details.set_text("status", status);
        let reason = "the status line of a SIP response";
        return Some(Identification::confirmed(Verdict::Sip, reason).with(details));
    }
    let request = line.strip_suffix(b" SIP/2.0")?;
    let (method, uri) = request.split_at(request.iter().position(|byte| *byte == b' ')?);
    if !method.iter().all(u8::is_ascii_uppercase) || !contains(uri, b":") {
        return None;
    }
    let uri = &uri[1..];
    let mut details = Details::default();
    details.set_text("method", method);
    details.set_address("uri", uri);
    details.set_some_text("user_agent", user_agent(bytes));
    // `nmap-service-probes`, SIPOptions.
    let identification = if uri == b"sip:nm" {
        Identification::confirmed(
            Verdict::ScanNmap,
            "a SIP request to the address that only Nmap's version detection names",
        )
    } else {
        Identification::confirmed(Verdict::Sip, "the request line of SIP")
    };
    Some(identification.with(details))
}

fn user_agent(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find_map(|line| line.strip_prefix(b"User-Agent:")).map(<[u8]>::trim_ascii)
}

/// RFC 8489 §5, RFC 3489 before it, and TURN, RFC 8656, which share their header. On TCP perhaps
/// behind a length, RFC 4571.
pub(crate) fn stun(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(found) = stun_message(payload.bytes, payload.wire_len) {
        return Some(found);
    }
    let (len, rest) = payload.bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let is_framed = payload.may_be(Protocol::Tcp) && len + 2 <= payload.wire_len;
    if is_framed { stun_message(rest, len) } else { None }
}

/// [MS-TURN] §2.2.3: a mark, a length and a session in front of the message, where several share a
/// port.
pub(crate) fn multiplexed_stun(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 12;
    let [0xff, 0x10, high, low, ..] = *payload.bytes else { return None };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let rest = payload.bytes.get(HEADER_LEN..)?;
    (len + 4 == payload.wire_len).then(|| stun_message(rest, payload.wire_len - HEADER_LEN))?
}

fn stun_message(bytes: &[u8], wire_len: usize) -> Option<Identification> {
    const HEADER_LEN: usize = 20;
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let mut reader = Reader::new(bytes);
    let kind = reader.be16()?;
    let len = usize::from(reader.be16()?);
    let cookie: [u8; 4] = reader.array()?;
    if kind >= 0x4000 {
        return None;
    }
    let (grade, reason) = if cookie == MAGIC_COOKIE {
        (Grade::Confirmed, "the magic cookie of STUN")
    } else {
        // Before RFC 5389 its place was a part of the transaction.
        reader.take(12)?;
        // Those of TURN before its standard, as Microsoft has it, among them.
        let is_kind = matches!(
            kind,
            1..=4 | 6 | 0x101..=0x104 | 0x106 | 0x111..=0x116 | 0x118
        );
        let is_whole = len + HEADER_LEN == wire_len && wire_len == bytes.len();
        if !is_kind || !is_whole {
            return None;
        }
        let grade = Evidence::bits(13 + 14 + old_attributes(&mut reader)?).grade()?;
        (grade, "the header of STUN as RFC 3489 has it: a type, and a length that agrees")
    };
    let method = match kind & 0x3eef {
        0x001 => "Binding",
        0x002 => "SharedSecret",
        0x003 => "Allocate",
        0x004 => "Refresh",
        0x006 => "Send",
        0x007 => "Data",
        0x008 => "CreatePermission",
        0x009 => "ChannelBind",
        _ => "other",
    };
    let class = match kind & 0x0110 {
        0x000 => "request",
        0x010 => "indication",
        0x100 => "success",
        _ => "error",
    };
    let mut details = Details::default();
    details.set("method", method);
    details.set("class", class);
    Some(Identification::new(Verdict::Stun, grade, reason).with(details))
}

/// Bits of evidence in attributes that fill the message; `None` if they do not.
fn old_attributes(reader: &mut Reader<'_>) -> Option<u32> {
    /// TURN's magic cookie, when it was an attribute.
    const OLD_COOKIE: u16 = 0x0f;
    let mut bits = 0;
    while !reader.is_empty() {
        let kind = reader.be16()?;
        let value = reader.block16()?;
        let is_address = matches!((kind, value), (1 | 2 | 4 | 5 | 11 | 18, [_, 1 | 2, ..]));
        bits += match (kind, value) {
            _ if is_address => 20,
            (OLD_COOKIE, [0x72, 0xc6, 0x4b, 0xc6]) => 32,
            (1..=0x14 | 0x20 | 0x22 | 0x8000..=0x8070, _) => 10,
            // Of a vendor's own: that it fills the message still speaks for it.
            (0x100..=0x1ff, _) => 6,
            _ => return None,
        };
    }
    Some(bits)
}
