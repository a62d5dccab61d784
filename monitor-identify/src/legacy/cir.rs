//! Wireless Village's wake-up, OMA-TS-IMPS_CSP_Transport-V1_3 §8.1.3: a communication initiation
//! request (CIR), `WVCI <version> <session cookie>`, in plain text or packed as SMS does.

use std::borrow::Cow;

use monitor_common::flow::Protocol;

use super::gsm7;
use crate::{Identification, Payload, Verdict, details::Details};

const START: &[u8] = b"WVCI ";
/// The same in the packed seven bits of SMS, as far as it fills whole bytes.
const PACKED_START: &[u8] = &[0x57, 0xeb, 0x30, 0x09];

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes.first()? {
        b'W' => request(payload.bytes, "plain text"),
        b'H' | b'O' | b'P' if payload.may_be(Protocol::Tcp) => standalone(payload.bytes),
        _ => None,
    }
}

/// Whether a body begins with a wake-up.
pub(crate) fn begins(body: &[u8]) -> bool {
    body.starts_with(START) || body.starts_with(PACKED_START)
}

/// Puts down what a wake-up says.
pub(crate) fn describe(body: &[u8], details: &mut Details) {
    if let Some(request) = Request::read(&unpacked(body)) {
        request.describe(details);
    }
}

fn unpacked(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.starts_with(PACKED_START) { gsm7::unpack(bytes).into() } else { bytes.into() }
}

/// Version and session cookie.
struct Request<'a> {
    version: &'a [u8],
    cookie: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let line = crate::reader::first_line(text.strip_prefix(START)?);
        let mut fields = line.split(|byte| *byte == b' ');
        let version = fields.next()?;
        let cookie = fields.next().filter(|cookie| !cookie.is_empty());
        let is_version = version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        let is_cookie = cookie.is_none_or(|cookie| cookie.iter().all(u8::is_ascii_graphic));
        let is_whole = is_version && is_cookie && fields.next().is_none();
        (is_whole && version.first()?.is_ascii_digit()).then_some(Self { version, cookie })
    }

    fn describe(&self, details: &mut Details) {
        details.set_text("version", self.version);
        details.set_some_content("session_cookie", self.cookie);
    }
}

fn request(bytes: &[u8], encoding: &'static str) -> Option<Identification> {
    if bytes.starts_with(PACKED_START) {
        return request(&gsm7::unpack(bytes), "packed GSM 7-bit");
    }
    let request = Request::read(bytes)?;
    let mut identification = match request.cookie {
        Some(_) => Identification::confirmed(
            Verdict::WvCir,
            "a Wireless Village wake-up (CIR): WVCI, a version and a session cookie",
        ),
        None => Identification::consistent(
            Verdict::WvCir,
            "the beginning of a Wireless Village wake-up (CIR): WVCI and a version",
        ),
    };
    identification.details.set("encoding", encoding);
    request.describe(&mut identification.details);
    Some(identification)
}

/// The connection that a handset holds open for wake-ups. `HELO` alone is also mail, so it takes
/// another word of the protocol.
fn standalone(bytes: &[u8]) -> Option<Identification> {
    let mut lines =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let session = match lines.next()? {
        b"OK" | b"PING" | b"PING " => None,
        line => Some(line.strip_prefix(b"HELO ")?.trim_ascii_end()),
    };
    // Mail clients have the name of a host there.
    let is_session = |session: &[u8]| {
        !session.is_empty() && session.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.')
    };
    let is_followed = match lines.next()? {
        // Clients send a blank behind it; those of Redis do not.
        b"OK" | b"PING " => session.is_some_and(is_session),
        line => line.starts_with(START),
    };
    let mut rest = lines.filter(|line| !line.is_empty());
    let is_word =
        |line: &[u8]| matches!(line, b"OK" | b"PING" | b"PING ") || line.starts_with(START);
    if !is_followed || !rest.all(is_word) {
        return None;
    }
    let mut identification = Identification::consistent(
        Verdict::WvCir,
        "the words of a Wireless Village CIR connection follow each other",
    );
    identification.details.set_some_text("session_id", session);
    Some(identification)
}
