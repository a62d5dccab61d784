//! Calls and their ways through NAT: SIP and STUN.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, first_line},
};

/// RFC 3261 §7.
pub(crate) fn sip(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.bytes.first()?.is_ascii_uppercase() {
        return None;
    }
    let line = first_line(payload.bytes);
    let mut details = Details::default();
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
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
    details.set_text("method", method);
    details.set_text("uri", uri);
    details.set_some_text("user_agent", user_agent(payload.bytes));
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

/// RFC 8489 §5, and TURN, RFC 8656, which shares its header.
pub(crate) fn stun(payload: &Payload<'_>) -> Option<Identification> {
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let mut reader = Reader::new(payload.bytes);
    let kind = reader.be16()?;
    let len = reader.be16()?;
    if kind >= 0x4000 || !len.is_multiple_of(4) || reader.array()? != MAGIC_COOKIE {
        return None;
    }
    let method = match kind & 0x3eef {
        0x001 => "Binding",
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
    Some(Identification::confirmed(Verdict::Stun, "the magic cookie of STUN").with(details))
}
