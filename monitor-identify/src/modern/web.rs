//! HTTP/1, HTTP/2 and the opening of a WebSocket; and the scanners that speak HTTP.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, first_line},
};

const METHODS: [&[u8]; 24] = [
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
    b"PROPPATCH ",
    b"SEARCH ",
    b"MERGE ",
    b"DEBUG ",
    b"TRACK ",
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"OPTIONS ",
    b"CONNECT ",
    b"DELETE ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"NOTIFY ",
    b"M-SEARCH ",
    b"SUBSCRIBE ",
    b"REPORT ",
];

/// RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What ZMap sends to a UDP port by default, `src/probe_modules/module_udp.c`.
const ZMAP_DEFAULT: &[u8] = b"GET / HTTP/1.1\r\nHost: www\r\n\r\n";

/// What nmap asks web servers for, to see how they refuse it; `nmap-service-probes`.
const NMAP_PAGE: &[u8] = b"/nice%20ports%2C/Tri%6Eity.txt%2ebak";

/// RFC 9112.
pub(crate) fn http(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes {
        [0, rest @ ..] if !rest.starts_with(&[0]) => behind(payload, rest),
        // RFC 9112 §2.2: empty lines in front of a request are skipped.
        [b'\r', b'\n', rest @ ..] => behind(payload, rest),
        bytes if bytes.starts_with(b"HTTP/1.") => Some(response(bytes)),
        _ => request(payload),
    }
}

/// A request behind the byte that keeps a connection alive, or an empty line.
fn behind(payload: &Payload<'_>, rest: &[u8]) -> Option<Identification> {
    let skipped = payload.bytes.len() - rest.len();
    let wire_len = payload.wire_len - skipped;
    request(&Payload { bytes: rest, wire_len, ..*payload })
}

fn request(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    let line = first_line(bytes);
    let known = METHODS.into_iter().find(|method| bytes.starts_with(method));
    let method = known.or_else(|| other_method(line))?;
    let is_open = line.len() == bytes.len();
    let (target, version) = target_and_version(&line[method.len()..]);
    // RTSP, SIP and others share these methods.
    let grade = match version {
        Some(version) if version.starts_with(b"HTTP/1.") => Grade::Confirmed,
        Some(version) if is_open && b"HTTP/1.".starts_with(version) => Grade::Consistent,
        Some(_) => return None,
        // HTTP/0.9, or a line that was cut: its target is longer than what was captured.
        None if target.starts_with(b"/") => Grade::Consistent,
        None if is_open && target.starts_with(b"http://") => Grade::Consistent,
        None => return None,
    };
    let user_agent = header(bytes, b"user-agent");
    let mut details = Details::default();
    details.set_text("method", &method[..method.len() - 1]);
    details.set_address("target", target);
    details.set_some_text("host", header(bytes, b"host"));
    details.set_some_text("user_agent", user_agent);
    if let Some(scanner) = scanner(payload, target, user_agent.unwrap_or_default()) {
        return Some(scanner.with(details));
    }
    let is_upgrade =
        header(bytes, b"upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"));
    let (verdict, reason) = match grade {
        _ if is_upgrade => (Verdict::Websocket, "an HTTP request with Upgrade: websocket"),
        Grade::Confirmed => (Verdict::Http, "a method and a target of HTTP, then HTTP/1"),
        _ => (Verdict::Http, "a method of HTTP and a path, without a version"),
    };
    Some(Identification::new(verdict, grade, reason).with(details))
}

/// A method that is not registered, or rarely used: the rest of the line must be HTTP's to its end.
fn other_method(line: &[u8]) -> Option<&[u8]> {
    let blank = line.iter().take(24).position(|byte| *byte == b' ')?;
    let (method, target) = line.split_at(blank + 1);
    let is_method = blank >= 3
        && method[..blank].iter().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(byte));
    let is_target = [&b"/"[..], b"*", b"http"].into_iter().any(|start| target.starts_with(start));
    let has_version = line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0");
    (is_method && has_version && is_target).then_some(method)
}

fn target_and_version(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().rposition(|byte| *byte == b' ') {
        Some(space) => (&rest[..space], Some(&rest[space + 1..])),
        None => (rest, None),
    }
}

fn scanner(payload: &Payload<'_>, target: &[u8], user_agent: &[u8]) -> Option<Identification> {
    let confirmed = Identification::confirmed;
    if contains(user_agent, b"zgrab/") {
        return Some(confirmed(Verdict::ScanZgrab, "an HTTP request with ZGrab's user agent"));
    }
    if target == NMAP_PAGE {
        return Some(confirmed(
            Verdict::ScanNmap,
            "an HTTP request for the page that only Nmap's version detection asks for",
        ));
    }
    if contains(user_agent, b"Nmap Scripting Engine") {
        return Some(confirmed(Verdict::ScanNmap, "an HTTP request with Nmap's user agent"));
    }
    if user_agent.starts_with(b"masscan/") {
        return Some(confirmed(Verdict::ScanMasscan, "an HTTP request with masscan's user agent"));
    }
    if payload.transport == Some(Protocol::Udp) && payload.bytes == ZMAP_DEFAULT {
        return Some(Identification::consistent(
            Verdict::ScanZmap,
            "the HTTP request that ZMap sends to UDP ports by default",
        ));
    }
    None
}

fn response(bytes: &[u8]) -> Identification {
    let line = first_line(bytes);
    let mut details = Details::default();
    details.set_some_text("status", line.get(9..));
    details.set_some_text("server", header(bytes, b"server"));
    let is_upgraded =
        header(bytes, b"upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    let (verdict, reason) = if is_upgraded && line.get(9..12) == Some(b"101") {
        (Verdict::Websocket, "an HTTP response that switches to WebSocket")
    } else {
        (Verdict::Http, "the status line of an HTTP/1 response")
    };
    Identification::confirmed(verdict, reason).with(details)
}

/// The value of a header field; `name` is in lower case.
fn header<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    for line in bytes.split(|byte| *byte == b'\n').skip(1) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return None;
        }
        let Some((field, value)) = line.split_at_checked(name.len()) else { continue };
        if field.eq_ignore_ascii_case(name) && value.first() == Some(&b':') {
            return Some(value[1..].trim_ascii());
        }
    }
    None
}

/// Frames of a WebSocket that is open, RFC 6455 §5: text, as servers send it plain and clients
/// masked.
pub(crate) fn frames(payload: &Payload<'_>) -> Option<Identification> {
    const TEXT: u8 = 0x81;
    let mut reader = Reader::new(payload.bytes);
    let [TEXT, second] = reader.array()? else { return None };
    let is_masked = second & 0x80 != 0;
    let len = match second & 0x7f {
        126 => usize::from(reader.be16()?),
        127 => return None,
        short => usize::from(short),
    };
    let mask: [u8; 4] = if is_masked { reader.array()? } else { [0; 4] };
    let header = payload.bytes.len() - reader.rest().len();
    if len + header != payload.wire_len || len < 4 {
        return None;
    }
    let unmasked = reader.rest().iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let is_text = unmasked.take(64).all(|byte| matches!(byte, 0x20..=0x7e | b'\t' | b'\r' | b'\n'));
    if !is_text {
        return None;
    }
    let reason = "a frame of text of a WebSocket, whose size agrees";
    Identification::graded(Verdict::Websocket, 8 + 8 + reader.rest().len().min(16) as u32, reason)
}

/// RFC 9113.
pub(crate) fn http2(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes.first()? {
        b'P' => {
            let is_preface = payload.bytes.starts_with(HTTP2_PREFACE);
            is_preface.then(|| {
                Identification::confirmed(Verdict::Http2, "the connection preface of HTTP/2")
            })
        }
        0 if payload.may_be(Protocol::Tcp) => settings(payload.bytes),
        _ => None,
    }
}

/// The frame that a server begins with, RFC 9113 §6.5.
fn settings(bytes: &[u8]) -> Option<Identification> {
    const SETTINGS: u8 = 4;
    const HIGHEST_ASSIGNED: u8 = 0x10;
    let mut reader = Reader::new(bytes);
    let len = reader.be24()? as usize;
    let (kind, flags, stream) = (reader.u8()?, reader.u8()?, reader.be32()?);
    let entries = reader.take(len)?;
    let (entries, rest) = entries.as_chunks::<6>();
    let are_assigned =
        entries.iter().all(|entry| entry[0] == 0 && (1..=HIGHEST_ASSIGNED).contains(&entry[1]));
    let is_settings = kind == SETTINGS && flags == 0 && stream == 0 && rest.is_empty();
    (is_settings && are_assigned).then(|| {
        Identification::consistent(Verdict::Http2, "a SETTINGS frame, with which HTTP/2 begins")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_behind_any_other() {
        let request = b"GET / HTTP/1.1\r\nDNT: 1\r\nx\r\nHost:a\r\nUser-Agent: b \r\n\r\nServer: c";
        assert_eq!(header(request, b"host"), Some(&b"a"[..]));
        assert_eq!(header(request, b"user-agent"), Some(&b"b"[..]));
        assert_eq!(header(request, b"server"), None);
    }
}
