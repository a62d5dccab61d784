//! What Java servers speak: RMI, JDWP, AJP and T3.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, first_line},
};

/// Java Object Serialization and RMI Specification, §10.2: magic, version, protocol.
pub(crate) fn java_rmi(payload: &Payload<'_>) -> Option<Identification> {
    if payload.bytes.first() == Some(&b'N') {
        return rmi_acknowledgement(payload);
    }
    let [0, version @ (1 | 2), protocol @ 0x4b..=0x4d, ..] = payload.bytes.strip_prefix(b"JRMI")?
    else {
        return None;
    };
    let mut details = Details::default();
    details.set("version", *version);
    let protocol = ["stream", "single operation", "multiplex"][usize::from(protocol - 0x4b)];
    details.set("protocol", protocol);
    Some(Identification::confirmed(Verdict::JavaRmi, "the header of Java RMI").with(details))
}

/// The answer of an RMI server: the client's name or address as it sees it, and its port.
fn rmi_acknowledgement(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes.get(1..)?);
    let host = reader.block16()?;
    let port = reader.be32()?;
    let is_host = (3..=253).contains(&host.len())
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(byte));
    (is_host && (1..1 << 16).contains(&port) && reader.is_empty() && !payload.is_cut()).then(|| {
        let mut details = Details::default();
        details.set_text("client", host);
        let reason = "the answer of an RMI server, with the client's address and port";
        Identification::confirmed(Verdict::JavaRmi, reason).with(details)
    })
}

/// Java Debug Wire Protocol: either side begins with the same fourteen bytes. A peer that may send
/// them may run code.
pub(crate) fn jdwp(payload: &Payload<'_>) -> Option<Identification> {
    payload.bytes.strip_prefix(b"JDWP-Handshake")?;
    let reason = "the handshake of the Java debugger, which lets its client run any code";
    Some(Identification::confirmed(Verdict::Jdwp, reason))
}

/// Apache JServ Protocol 1.3: a web server's requests to a servlet container.
pub(crate) fn ajp13(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let magic: [u8; 2] = reader.array()?;
    let len = usize::from(reader.be16()?);
    let kind = reader.u8()?;
    let (message, is_right) = match (magic, kind) {
        ([0x12, 0x34], 2) => ("forward request", matches!(reader.peek(), Some(1..=27))),
        ([0x12, 0x34], 7) => ("shutdown", len == 1),
        ([0x12, 0x34], 8) => ("ping", len == 1),
        ([0x12, 0x34], 10) => ("CPing", len == 1),
        ([b'A', b'B'], 3) => ("body chunk", len > 3),
        ([b'A', b'B'], 4) => ("headers", len > 3),
        ([b'A', b'B'], 5) => ("end of response", len == 2),
        ([b'A', b'B'], 6) => ("get body chunk", len == 3),
        ([b'A', b'B'], 9) => ("CPong", len == 1),
        _ => return None,
    };
    if !is_right || len == 0 || len > 8192 {
        return None;
    }
    let of_size = if len + 4 == payload.wire_len { 14 } else { 0 };
    let reason = "a message of AJP 1.3: its magic number, its size and its type";
    let found = Identification::graded(Verdict::Ajp13, 16 + 6 + of_size, reason)?;
    let mut details = Details::default();
    details.set("message", message);
    if kind == 2 {
        describe_request(&mut reader, &mut details);
    }
    Some(found.with(details))
}

fn describe_request(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    const METHODS: [&str; 8] =
        ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PROPFIND"];
    let method = usize::from(reader.u8()?);
    details.set_known("method", METHODS.get(method.wrapping_sub(1)).copied());
    let _protocol = text(reader)?;
    details.set_address("target", text(reader)?);
    Some(())
}

/// Text behind its length, with a zero at its end.
fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let text = reader.block16()?;
    reader.take(1)?;
    Some(text)
}

/// T3 of WebLogic: a line with a version, then lines with a letter or two, a colon and a number.
pub(crate) fn t3(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    let (role, rest) = if let Some(rest) = bytes.strip_prefix(b"t3 ") {
        ("client", rest)
    } else if let Some(rest) = bytes.strip_prefix(b"t3s ") {
        ("client", rest)
    } else {
        ("server", bytes.strip_prefix(b"HELO:")?)
    };
    let version = first_line(rest);
    let is_version = version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.');
    let has_fields = rest.get(version.len()..)?.starts_with(b"\nAS:");
    if !is_version || !(has_fields || role == "client") {
        return None;
    }
    let mut details = Details::default();
    details.set("role", role);
    details.set_text("version", version);
    let reason = "the greeting of WebLogic's T3: a version, then its parameters";
    let found = if has_fields {
        Identification::confirmed(Verdict::T3, reason)
    } else {
        Identification::consistent(Verdict::T3, reason)
    };
    Some(found.with(details))
}
