//! Lightweight Directory Access Protocol, RFC 4511: a sequence of a message number and an operation.

use super::ber::{self, INTEGER, OCTETS, SEQUENCE};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = ber::enter(&mut reader, SEQUENCE)?;
    let header = payload.bytes.len() - reader.rest().len();
    let id = ber::expect(&mut reader, INTEGER)?;
    let operation = reader.u8()?;
    let operation_len = ber::len(&mut reader)?;
    let name = operation_name(operation)?;
    let total = header + len;
    if id.is_empty() || id.len() > 4 || operation_len + 2 + id.len() + 2 > len {
        return None;
    }
    let mut rest = Reader::new(reader.rest());
    let of_content = content_bits(operation, &mut rest)?;
    let of_size = match total {
        _ if total == payload.wire_len => 14,
        // More messages, or more segments.
        _ if operation_len + 2 + id.len() + 2 + 6 >= len => 6,
        _ => return None,
    };
    let reason = "a message of LDAP: a number, an operation and its fields, whose sizes nest";
    let bits = 8 + 8 + 5 + of_size + of_content;
    let found = Identification::graded(Verdict::Ldap, bits, reason)?;
    let mut details = Details::default();
    details.set("operation", name);
    describe(operation, reader, &mut details);
    Some(found.with(details))
}

/// A message that SASL protects by Kerberos, RFC 4121 §4.2.6.2: a size, and a token with its number.
/// Directories of Windows have most of theirs so.
pub(crate) fn protected(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    let [5, 4, 0..=7, 0xff] = reader.array()? else { return None };
    let _extra_and_rotated = reader.be32()?;
    // The upper half of the token's number.
    let high = reader.be32()?;
    let is_home = payload.has_port(389) || payload.has_port(3268);
    if len + 4 > payload.wire_len || len < 16 || high != 0 {
        return None;
    }
    let grade_bits = if is_home { 40 } else { 24 };
    let reason = "a message that Kerberos protects, as LDAP has it behind its login";
    let found = Identification::graded(Verdict::Ldap, grade_bits, reason)?;
    let mut details = Details::default();
    details.set("operation", "protected");
    Some(found.with(details))
}

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;

/// Bits of evidence in the first fields of an operation; `None` if they contradict it.
fn content_bits(operation: u8, reader: &mut Reader<'_>) -> Option<u32> {
    match operation {
        BIND => {
            let version = ber::expect(reader, INTEGER)?;
            ber::expect(reader, OCTETS)?;
            // Simple, SASL, and Microsoft's ways.
            let is_method = matches!(reader.peek(), None | Some(0x80 | 0xa3 | 0x89..=0x8b));
            // A name whose length is wrong still leaves the version.
            matches!(version, [2 | 3]).then_some(if is_method { 24 } else { 8 })
        }
        SEARCH => {
            const ENUMERATED: u8 = 0x0a;
            ber::expect(reader, OCTETS)?;
            let (scope, aliases) =
                (ber::expect(reader, ENUMERATED)?, ber::expect(reader, ENUMERATED)?);
            matches!((scope, aliases), ([0..=3], [0..=3])).then_some(24)
        }
        // Results: a code, a name and a message.
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => {
            let code = ber::expect(reader, 0x0a)?;
            ber::expect(reader, OCTETS)?;
            matches!(code, [0..=123]).then_some(20)
        }
        EXTENDED => {
            let name = ber::expect(reader, 0x80)?;
            name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.').then_some(20)
        }
        0x64 | 0x66 | 0x68 => {
            ber::expect(reader, OCTETS)?;
            Some(8)
        }
        _ => Some(0),
    }
}

fn describe(operation: u8, mut reader: Reader<'_>, details: &mut Details) -> Option<()> {
    match operation {
        BIND => {
            let version = ber::expect(&mut reader, INTEGER)?;
            details.set_known("version", ber::unsigned(version));
            let name = ber::expect(&mut reader, OCTETS)?;
            details.set_some_text("name", Some(name));
            let (method, value) = ber::element(&mut reader)?;
            let method = match method {
                0x80 if name.is_empty() && value.is_empty() => "anonymous",
                0x80 => "simple",
                0xa3 => "SASL",
                _ => "NTLM",
            };
            details.set("authentication", method);
        }
        SEARCH => {
            let base = ber::expect(&mut reader, OCTETS)?;
            details.set_text("base", base);
            let scope = ber::expect(&mut reader, 0x0a)?;
            let names = ["base", "one level", "subtree", "subordinates"];
            let scope = scope.first().and_then(|scope| names.get(usize::from(*scope)));
            details.set_known("scope", scope.copied());
        }
        EXTENDED => details.set_text("name", ber::expect(&mut reader, 0x80)?),
        0x61 | 0x65 | 0x78 => {
            let code = ber::expect(&mut reader, 0x0a)?;
            details.set_known("result", ber::unsigned(code));
        }
        0x64 => details.set_text("entry", ber::expect(&mut reader, OCTETS)?),
        _ => {}
    }
    Some(())
}

const fn operation_name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        BIND => "bind request",
        0x61 => "bind response",
        0x42 => "unbind request",
        SEARCH => "search request",
        0x64 => "search result entry",
        0x65 => "search result done",
        0x73 => "search result reference",
        0x66 => "modify request",
        0x67 => "modify response",
        0x68 => "add request",
        0x69 => "add response",
        0x4a => "delete request",
        0x6b => "delete response",
        0x6c => "modify name request",
        0x6d => "modify name response",
        0x6e => "compare request",
        0x6f => "compare response",
        0x50 => "abandon request",
        EXTENDED => "extended request",
        0x78 => "extended response",
        _ => return None,
    })
}
