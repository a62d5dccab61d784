//! Wireless Transport Layer Security, WAP-261-WTLS §9 and §10: records and handshakes on 2949,
//! 9202 and 9203. Records that are ciphered have nothing that could be recognised.

use monitor_common::flow::Protocol;

use super::port;
use crate::{
    Identification, Payload, Verdict,
    details::{Details, named},
    reader::Reader,
};

/// Bits of the first byte of a record.
mod bit {
    pub(super) const LENGTH: u8 = 0x80;
    pub(super) const SEQUENCE: u8 = 0x40;
    pub(super) const CIPHERED: u8 = 0x20;
    pub(super) const RESERVED: u8 = 0x10;
}

const VERSION: u8 = 1;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let first = reader.u8()?;
    if first & (bit::CIPHERED | bit::RESERVED) != 0 || !payload.may_be(Protocol::Udp) {
        return None;
    }
    let sequence = if first & bit::SEQUENCE != 0 { Some(reader.be16()?) } else { None };
    let has_length = first & bit::LENGTH != 0;
    let record = if has_length { reader.block16()? } else { reader.take(reader.rest().len())? };
    let mut identification = match first & 0x0f {
        3 => handshake(record)?,
        // Without a length nothing would hold it together, and on another port it could be anything.
        2 if has_length && reader.is_empty() && is_on_port(payload) => alert(record)?,
        _ => return None,
    };
    identification.details.set_known("sequence", sequence);
    Some(identification)
}

/// Whether a few bytes may be WTLS: a whole datagram from or to one of its ports.
fn is_on_port(payload: &Payload<'_>) -> bool {
    let is_known = port::WTLS.into_iter().any(|port| payload.has_port(port));
    payload.transport == Some(Protocol::Udp) && is_known && !payload.is_cut()
}

/// One whole hello: the size of the record and its own agree. Handshakes without content and changes
/// of ciphers are a few bytes, most of them zero, which prove nothing.
fn handshake(record: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(record);
    let kind = reader.u8()?;
    let body = reader.block16()?;
    if !reader.is_empty() {
        return None;
    }
    let mut details = Details::default();
    details.set("handshake", handshake_name(kind)?);
    match kind {
        1 => client_hello(body, &mut details)?,
        2 => server_hello(body, &mut details)?,
        _ => return None,
    }
    Some(
        Identification::confirmed(
            Verdict::Wtls,
            "a WTLS record with a hello that holds field by field to its end",
        )
        .with(details),
    )
}

fn client_hello(body: &[u8], details: &mut Details) -> Option<()> {
    let mut reader = Reader::new(body);
    is(reader.u8()? == VERSION)?;
    let _gmt_and_random = reader.take(4 + 12)?;
    let session = reader.block8()?;
    is(session.len() <= 8)?;
    let _client_keys = reader.block16()?;
    let _trusted_keys = reader.block16()?;
    let ciphers = reader.block8()?;
    is(!ciphers.is_empty() && ciphers.len().is_multiple_of(2))?;
    let compressions = reader.block8()?;
    is(!compressions.is_empty())?;
    let sequence_mode = reader.u8()?;
    let _refresh = reader.u8()?;
    is(sequence_mode <= 2 && reader.is_empty())?;
    let (suites, _) = ciphers.as_chunks();
    let suites = suites.iter().map(|suite| suite_name(*suite).into());
    details.set("cipher_suites", suites.collect::<Vec<serde_json::Value>>());
    details.set("resumes_session", !session.is_empty());
    Some(())
}

fn server_hello(body: &[u8], details: &mut Details) -> Option<()> {
    let mut reader = Reader::new(body);
    is(reader.u8()? == VERSION)?;
    let _gmt_and_random = reader.take(4 + 12)?;
    let session = reader.block8()?;
    is(session.len() <= 8)?;
    let _client_key = reader.u8()?;
    let suite = reader.array()?;
    let [_compression, sequence_mode, _refresh] = reader.array()?;
    is(sequence_mode <= 2 && reader.is_empty())?;
    details.set("cipher_suite", suite_name(suite));
    Some(())
}

fn alert(record: &[u8]) -> Option<Identification> {
    let &[level @ 1..=3, description, ..] = record else { return None };
    is(record.len() == 6)?;
    let mut details = Details::default();
    details.set("alert", alert_name(description)?);
    details.set("level", ["warning", "critical", "fatal"][usize::from(level) - 1]);
    Some(
        Identification::consistent(
            Verdict::Wtls,
            "a WTLS record of the size of an alert, with an assigned level and description",
        )
        .with(details),
    )
}

const fn is(condition: bool) -> Option<()> {
    if condition { Some(()) } else { None }
}

fn suite_name([cipher, mac]: [u8; 2]) -> String {
    const CIPHERS: [&str; 10] = [
        "NULL",
        "RC5_CBC_40",
        "RC5_CBC_56",
        "RC5_CBC",
        "DES_CBC_40",
        "DES_CBC",
        "3DES_CBC_EDE",
        "IDEA_CBC_40",
        "IDEA_CBC_56",
        "IDEA_CBC",
    ];
    const MACS: [&str; 8] =
        ["SHA_0", "SHA_40", "SHA_80", "SHA", "SHA_XOR_40", "MD5_40", "MD5_80", "MD5"];
    let name =
        |names: &[&'static str], number: u8| named(names.get(usize::from(number)).copied(), number);
    format!("{}/{}", name(&CIPHERS, cipher), name(&MACS, mac))
}

const fn handshake_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "ClientHello",
        2 => "ServerHello",
        _ => return None,
    })
}

const fn alert_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "connection_close_notify",
        1 => "session_close_notify",
        5 => "no_connection",
        10 => "unexpected_message",
        11 => "time_required",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        _ => return None,
    })
}
