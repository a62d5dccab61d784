//! Kerberos 5, RFC 4120 §5: messages of ASN.1 with a tag of their own, behind a length on TCP.

use monitor_common::flow::Protocol;

use super::ber::{self, INTEGER, SEQUENCE};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(found) = message(payload.bytes, payload.wire_len) {
        return Some(found);
    }
    let (len, rest) = payload.bytes.split_first_chunk()?;
    let len = u32::from_be_bytes(*len) as usize;
    let is_framed = payload.may_be(Protocol::Tcp) && (20..1 << 20).contains(&len);
    if is_framed { message(rest, len) } else { None }
}

fn message(bytes: &[u8], wire_len: usize) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8()?;
    let name = name(tag)?;
    let len = ber::len(&mut reader)?;
    let header = bytes.len() - reader.rest().len();
    let inner = ber::enter(&mut reader, SEQUENCE)?;
    // A request numbers its fields from 1, all others from 0.
    let first = if matches!(tag, 0x6a | 0x6c) { 0xa1 } else { 0xa0 };
    let version = number(&mut reader, first)?;
    let kind = number(&mut reader, first + 1)?;
    if version != 5 || kind != u32::from(tag & 0x1f) || inner > len {
        return None;
    }
    let of_size = if header + len == wire_len { 14 } else { 0 };
    let reason = "a message of Kerberos 5, whose version and type are repeated inside";
    let found = Identification::graded(Verdict::Kerberos, 40 + of_size, reason)?;
    let mut details = Details::default();
    details.set("message", name);
    match tag {
        0x6a | 0x6c => describe_request(reader, &mut details),
        0x7e => describe_error(reader, &mut details),
        _ => describe_reply(reader, &mut details),
    };
    Some(found.with(details))
}

/// A field that is a small number.
fn number(reader: &mut Reader<'_>, tag: u8) -> Option<u32> {
    let mut field = Reader::new(ber::expect(reader, tag)?);
    ber::unsigned(ber::expect(&mut field, INTEGER)?)
}

fn describe_request(mut reader: Reader<'_>, details: &mut Details) -> Option<()> {
    const BODY: u8 = 0xa4;
    // Pre-authentication data may precede.
    while reader.peek()? != BODY {
        ber::element(&mut reader)?;
    }
    ber::enter(&mut reader, BODY)?;
    ber::enter(&mut reader, SEQUENCE)?;
    while let Some((tag, value)) = ber::element(&mut reader) {
        match tag {
            0xa1 => details.set_some_text("client", principal(value)),
            0xa2 => details.set_some_text("realm", general_string(value)),
            0xa3 => details.set_some_text("service", principal(value)),
            _ => {}
        }
    }
    Some(())
}

fn describe_reply(mut reader: Reader<'_>, details: &mut Details) -> Option<()> {
    while let Some((tag, value)) = ber::element(&mut reader) {
        match tag {
            0xa3 => details.set_some_text("realm", general_string(value)),
            0xa4 => details.set_some_text("client", principal(value)),
            _ => {}
        }
    }
    Some(())
}

fn describe_error(mut reader: Reader<'_>, details: &mut Details) -> Option<()> {
    while let Some((tag, value)) = ber::element(&mut reader) {
        match tag {
            0xa6 => {
                let code = ber::expect(&mut Reader::new(value), INTEGER)?;
                details.set_known("error", ber::unsigned(code));
            }
            0xa9 => details.set_some_text("realm", general_string(value)),
            _ => {}
        }
    }
    Some(())
}

/// The first component of a principal's name.
fn principal(value: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(ber::expect(&mut Reader::new(value), SEQUENCE)?);
    ber::expect(&mut reader, 0xa0)?;
    let names = ber::expect(&mut reader, 0xa1)?;
    general_string(ber::expect(&mut Reader::new(names), SEQUENCE)?)
}

fn general_string(value: &[u8]) -> Option<&[u8]> {
    const GENERAL_STRING: u8 = 0x1b;
    ber::expect(&mut Reader::new(value), GENERAL_STRING)
}

const fn name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        0x6a => "AS-REQ",
        0x6b => "AS-REP",
        0x6c => "TGS-REQ",
        0x6d => "TGS-REP",
        0x6e => "AP-REQ",
        0x6f => "AP-REP",
        0x74 => "KRB-SAFE",
        0x75 => "KRB-PRIV",
        0x76 => "KRB-CRED",
        0x7e => "KRB-ERROR",
        _ => return None,
    })
}
