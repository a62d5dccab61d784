//! TLS over TCP, RFC 8446, and SSL before it.

use monitor_common::flow::Protocol;

use super::{
    hello::{CLIENT_HELLO, Flavour, Hello, SERVER_HELLO, SMALLEST_HELLO, version_name},
    record::{self, ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, HEARTBEAT, alert},
};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn tls(payload: &Payload<'_>) -> Option<Identification> {
    if !matches!(payload.bytes, [CHANGE_CIPHER_SPEC..=HEARTBEAT, 3, 0..=4, ..]) {
        return None;
    }
    handshake(payload).or_else(|| records(payload))
}

/// A record with a hello or an alert in plain text.
fn handshake(payload: &Payload<'_>) -> Option<Identification> {
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
    let mut hello = Hello::new();
    let reason = if message == CLIENT_HELLO {
        hello.client(&mut reader, Flavour::Stream)?;
        "a TLS record with a ClientHello, field by field"
    } else {
        hello.server(&mut reader)?;
        "a TLS record with a ServerHello, field by field"
    };
    hello.details.set("record_version", version_name(3, minor));
    if hello.is_nmap() {
        return Some(nmap(hello.details));
    }
    // A hello may go on in the next record, but is never smaller than its fields.
    let is_large_enough = message_len >= SMALLEST_HELLO;
    is_large_enough.then(|| Identification::confirmed(Verdict::Tls, reason).with(hello.details))
}

/// The first bytes of a hello: the others are in the next segment, or were not captured.
fn beginning(record_len: u16, message: u8, body: &[u8], minor: u8) -> Option<Identification> {
    let with_version = |identification: Identification| {
        let mut details = Details::default();
        details.set("record_version", version_name(3, minor));
        Some(identification.with(details))
    };
    let mut reader = Reader::new(body);
    let Some(message_len) = reader.be24() else {
        let reason = "the first bytes of a TLS record with a hello, and no more";
        return with_version(Identification::suspect(Verdict::Tls, reason));
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
    with_version(Identification::consistent(Verdict::Tls, reason))
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

fn nmap(details: Details) -> Identification {
    Identification::confirmed(
        Verdict::ScanNmap,
        "a TLS ClientHello whose random bytes are those of Nmap's version detection",
    )
    .with(details)
}

/// Records in the middle of a stream: types, versions and lengths that chain to the end of the
/// segment, or past it into the next one.
fn records(payload: &Payload<'_>) -> Option<Identification> {
    const LARGEST: usize = (1 << 14) + 2048;
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    let mut reader = Reader::new(payload.bytes);
    let (mut count, mut first, mut is_to_the_end) = (0_u32, None, false);
    while let Some([kind, major, minor, high, low]) = reader.array() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let is_record = matches!(kind, CHANGE_CIPHER_SPEC..=HEARTBEAT)
            && major == 3
            && minor <= 4
            && (1..=LARGEST).contains(&len)
            && first.is_none_or(|(_, known)| known == minor);
        // Of its kinds, one has a fixed size and content.
        if !is_record || (kind == CHANGE_CIPHER_SPEC && len != 1) {
            return None;
        }
        // A hello in plain text that did not read as one is none.
        let is_wrong = matches!(reader.peek(), None | Some(CLIENT_HELLO | SERVER_HELLO));
        if first.is_none() && is_wrong && (kind == HANDSHAKE || reader.is_empty()) {
            return None;
        }
        first.get_or_insert((kind, minor));
        count += 1;
        let there = reader.rest().len();
        is_to_the_end = len == there + payload.missing();
        if reader.take(len).is_none() {
            break;
        }
    }
    let (kind, minor) = first?;
    let of_end = if is_to_the_end && !payload.is_cut() { 14 } else { 0 };
    let bits = 21 + (count - 1) * 29 + of_end;
    let reason = "records of TLS in the middle of a connection: types, versions and lengths";
    let found = Identification::graded(Verdict::Tls, bits, reason)?;
    let mut details = Details::default();
    details.set("record", record::name(kind));
    details.set("record_version", version_name(3, minor));
    details.set("records", count);
    Some(found.with(details))
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
