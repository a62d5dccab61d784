//! TLS (RFC 8446), DTLS (RFC 9147) and SSL before them.

use monitor_common::flow::Protocol;
use serde_json::Value;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::Reader,
};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Bytes of a hello with nothing in it that could be left out.
const SMALLEST_HELLO: u32 = 38;

/// Extensions and names that are put down.
const MAX_EXTENSIONS: usize = 64;
const MAX_PROTOCOLS: usize = 8;

/// The "random" bytes of Nmap's probes, behind a time of four bytes; `nmap-service-probes`.
const NMAP_RANDOM: &[u8] = b"random1random2random3random4";

pub(crate) fn tls(payload: &Payload<'_>) -> Option<Identification> {
    let (&[kind @ (ALERT | HANDSHAKE), 3, minor @ 0..=4, high, low], rest) =
        payload.bytes.split_first_chunk()?
    else {
        return None;
    };
    let len = u16::from_be_bytes([high, low]);
    if kind == ALERT {
        return alert(len, rest);
    }
    // RFC 8446 §5.1, with what earlier versions allowed on top.
    if !(4..=(1 << 14) + 2048).contains(&len) {
        return None;
    }
    let (&message, body) = rest.split_first()?;
    if !matches!(message, CLIENT_HELLO | SERVER_HELLO) {
        return None;
    }
    let found = hello(message, body, minor);
    // The rest of a datagram does not come in another one.
    if found.is_some() || !payload.may_be(Protocol::Tcp) {
        return found;
    }
    beginning(len, message, body, minor)
}

/// A hello from its length on, of which all is there that makes it sure.
fn hello(message: u8, body: &[u8], minor: u8) -> Option<Identification> {
    let mut reader = Reader::new(body);
    let message_len = reader.be24()?;
    let mut hello = Hello { details: Details::default(), random: &[] };
    hello.details.set("record_version", version_name(3, minor));
    let reason = if message == CLIENT_HELLO {
        hello.client(&mut reader, Flavour::Stream)?;
        "a TLS record with a ClientHello, field by field"
    } else {
        hello.server(&mut reader)?;
        "a TLS record with a ServerHello, field by field"
    };
    if hello.is_nmap() {
        return Some(nmap(hello.details));
    }
    // A hello may go on in the next record, but is never smaller than its fields.
    let is_large_enough = message_len >= SMALLEST_HELLO;
    is_large_enough.then(|| Identification::confirmed(Verdict::Tls, reason).with(hello.details))
}

/// The first bytes of a hello: the others are in the next segment, or were not captured.
fn beginning(record_len: u16, message: u8, body: &[u8], minor: u8) -> Option<Identification> {
    let told = |identification: Identification| {
        let mut details = Details::default();
        details.set("record_version", version_name(3, minor));
        Some(identification.with(details))
    };
    let mut reader = Reader::new(body);
    let Some(message_len) = reader.be24() else {
        let reason = "the first bytes of a TLS record with a hello, and no more";
        return told(Identification::suspect(Verdict::Tls, reason));
    };
    // Type and length come on top; a server may have put more messages into the record.
    let is_of_record = match message {
        CLIENT_HELLO => message_len + 4 == u32::from(record_len),
        _ => message_len + 4 <= u32::from(record_len),
    };
    if !is_of_record || message_len < SMALLEST_HELLO || !may_begin_hello(reader.rest()) {
        return None;
    }
    let reason = "the beginning of a TLS hello, whose length is that of its record";
    told(Identification::consistent(Verdict::Tls, reason))
}

/// Whether version and session id are right as far as they are there, and end behind what is there.
fn may_begin_hello(hello: &[u8]) -> bool {
    /// Version and random bytes.
    const SESSION_ID: usize = 2 + 32;
    let is_version = matches!(hello, [] | [3] | [3, 0..=4, ..]);
    let session_len = hello.get(SESSION_ID).copied().unwrap_or(0);
    // Two more bytes, and `Hello` would have read it.
    let wanted = SESSION_ID + 1 + usize::from(session_len) + 2;
    is_version && session_len <= 32 && hello.len() < wanted
}

fn alert(len: u16, rest: &[u8]) -> Option<Identification> {
    let (2, [level @ 1..=2, description, ..]) = (len, rest) else { return None };
    let mut details = Details::default();
    details.set("alert", *description);
    details.set("level", if *level == 1 { "warning" } else { "fatal" });
    Some(Identification::confirmed(Verdict::Tls, "a TLS alert").with(details))
}

fn nmap(details: Details) -> Identification {
    Identification::confirmed(
        Verdict::ScanNmap,
        "a TLS ClientHello whose random bytes are those of Nmap's version detection",
    )
    .with(details)
}

pub(crate) fn dtls(payload: &Payload<'_>) -> Option<Identification> {
    let (&[kind @ (ALERT | HANDSHAKE), 0xfe, minor @ (0xff | 0xfd | 0xfc)], rest) =
        payload.bytes.split_first_chunk()?
    else {
        return None;
    };
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut reader = Reader::new(rest);
    let epoch = reader.be16()?;
    let _sequence: [u8; 6] = reader.array()?;
    let len = reader.be16()?;
    if epoch != 0 || usize::from(len) > payload.wire_len.saturating_sub(13) {
        return None;
    }
    if kind == ALERT {
        return alert(len, reader.rest())
            .map(|_| Identification::confirmed(Verdict::Dtls, "a DTLS alert"));
    }
    let message = reader.u8()?;
    // Length, sequence number, and where the fragment lies.
    let _header: [u8; 11] = reader.array()?;
    let mut hello = Hello { details: Details::default(), random: &[] };
    hello.details.set("record_version", version_name(0xfe, minor));
    let reason = match message {
        CLIENT_HELLO => {
            hello.client(&mut reader, Flavour::Datagram)?;
            "a DTLS record with a ClientHello, field by field"
        }
        SERVER_HELLO => {
            hello.server(&mut reader)?;
            "a DTLS record with a ServerHello, field by field"
        }
        3 => "a DTLS record with a HelloVerifyRequest",
        _ => return None,
    };
    Some(Identification::confirmed(Verdict::Dtls, reason).with(hello.details))
}

/// SSL 2's hello, with which old clients begin; RFC 6101 §E.
pub(crate) fn ssl2(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let size = reader.be16()?;
    let [message, major, minor] = reader.array()?;
    let [ciphers, session, challenge] =
        [reader.be16()?, reader.be16()?, reader.be16()?].map(usize::from);
    let is_whole = size & 0x8000 != 0
        && usize::from(size & 0x7fff) + 2 == payload.wire_len
        && usize::from(size & 0x7fff) == 9 + ciphers + session + challenge;
    let is_version = matches!((major, minor), (0, 2) | (3, 0..=4));
    let is_hello = message == CLIENT_HELLO && is_version && ciphers.is_multiple_of(3);
    (is_whole && is_hello && payload.may_be(Protocol::Tcp)).then(|| {
        let mut details = Details::default();
        details.set("version", if major == 0 { "SSL 2.0" } else { version_name(major, minor) });
        Identification::confirmed(Verdict::Tls, "an SSL 2 hello whose sizes add up").with(details)
    })
}

/// Whether messages come in a stream or in datagrams, whose hello has a cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Stream,
    Datagram,
}

/// What a hello says, as far as it was captured.
struct Hello<'a> {
    details: Details,
    random: &'a [u8],
}

impl<'a> Hello<'a> {
    fn is_nmap(&self) -> bool {
        self.random.get(4..) == Some(NMAP_RANDOM)
    }

    /// The fields in front of the cipher suites must be there; what follows may be cut.
    fn client(&mut self, reader: &mut Reader<'a>, flavour: Flavour) -> Option<()> {
        let version = self.version_and_random(reader)?;
        self.details.set("version", version);
        let session = reader.block8()?;
        if session.len() > 32 {
            return None;
        }
        if flavour == Flavour::Datagram {
            reader.block8()?;
        }
        let suites_len = reader.be16()?;
        if suites_len == 0 || !suites_len.is_multiple_of(2) {
            return None;
        }
        self.details.set("cipher_suites", suites_len / 2);
        let _ = self.rest_of_client(reader, suites_len);
        Some(())
    }

    fn rest_of_client(&mut self, reader: &mut Reader<'a>, suites_len: u16) -> Option<()> {
        reader.take(suites_len.into())?;
        reader.block8()?;
        self.extensions(reader)
    }

    fn server(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        let version = self.version_and_random(reader)?;
        self.details.set("version", version);
        let session = reader.block8()?;
        if session.len() > 32 {
            return None;
        }
        let suite = reader.be16()?;
        self.details.set("cipher_suite", format!("0x{suite:04x}"));
        if reader.u8().is_some() {
            let _ = self.extensions(reader);
        }
        Some(())
    }

    fn version_and_random(&mut self, reader: &mut Reader<'a>) -> Option<&'static str> {
        let [major, minor] = reader.array()?;
        if !matches!((major, minor), (3, 0..=4) | (0xfe, 0xff | 0xfd | 0xfc)) {
            return None;
        }
        self.random = reader.take(32)?;
        Some(version_name(major, minor))
    }

    fn extensions(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        const SERVER_NAME: u16 = 0;
        const ALPN: u16 = 16;
        const SUPPORTED_VERSIONS: u16 = 43;
        let _len = reader.be16()?;
        for _ in 0..MAX_EXTENSIONS {
            let kind = reader.be16()?;
            let body = reader.block16()?;
            match kind {
                SERVER_NAME => self.details.set_some_text("server_name", server_name(body)),
                ALPN => self.details.set_known("alpn", alpn(body)),
                SUPPORTED_VERSIONS if offers_1_3(body) => {
                    self.details.set("supports", "TLS 1.3");
                }
                _ => {}
            }
        }
        None
    }
}

/// RFC 6066 §3.
fn server_name(body: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(Reader::new(body).block16()?);
    const HOST_NAME: u8 = 0;
    if names.u8()? != HOST_NAME {
        return None;
    }
    names.block16()
}

/// RFC 7301 §3.1.
fn alpn(body: &[u8]) -> Option<Vec<Value>> {
    let mut names = Reader::new(Reader::new(body).block16()?);
    let protocols = std::iter::from_fn(|| names.block8()).take(MAX_PROTOCOLS);
    Some(protocols.map(|name| shown(name).into()).collect())
}

/// RFC 8446 §4.2.1: a list from a client, one version from a server.
fn offers_1_3(body: &[u8]) -> bool {
    let list = if body.len().is_multiple_of(2) { body } else { &body[1..] };
    list.as_chunks().0.contains(&[3, 4])
}

const fn version_name(major: u8, minor: u8) -> &'static str {
    match (major, minor) {
        (3, 0) => "SSL 3.0",
        (3, 1) => "TLS 1.0",
        (3, 2) => "TLS 1.1",
        (3, 3) => "TLS 1.2",
        (3, _) => "TLS 1.3",
        (_, 0xff) => "DTLS 1.0",
        (_, 0xfd) => "DTLS 1.2",
        _ => "DTLS 1.3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grade;

    /// The first bytes of a hello of `message`, up to its cipher suites.
    fn hello(message: u8) -> Vec<u8> {
        let mut bytes = vec![22, 3, 1, 0, 104, message, 0, 0, 100, 3, 3];
        bytes.extend([7; 32]);
        bytes.push(16);
        bytes.extend([8; 16]);
        bytes
    }

    #[test]
    fn a_beginning_is_graded_by_what_is_there() {
        for message in [CLIENT_HELLO, SERVER_HELLO] {
            let bytes = hello(message);
            for len in 1..=bytes.len() {
                let found = tls(&Payload::of(&bytes[..len])).map(|found| found.grade);
                let wanted = match len {
                    ..6 => None,
                    6..9 => Some(Grade::Suspect),
                    _ => Some(Grade::Consistent),
                };
                assert_eq!(found, wanted, "{len} bytes of message {message}");
            }
        }
    }

    #[test]
    fn a_beginning_must_fit_as_far_as_it_goes() {
        for (at, wrong) in [(8, 101), (9, 2), (10, 5), (43, 33)] {
            let mut bytes = hello(CLIENT_HELLO);
            bytes[at] = wrong;
            assert!(tls(&Payload::of(&bytes)).is_none(), "byte {at}");
        }
        let bytes = hello(CLIENT_HELLO);
        let over_udp = Payload { transport: Some(Protocol::Udp), ..Payload::of(&bytes) };
        assert!(tls(&over_udp).is_none());
    }
}
