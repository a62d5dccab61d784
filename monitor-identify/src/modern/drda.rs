//! Distributed Relational Database Architecture, as DB2 and Derby speak it: objects of DDM with a
//! size, the byte 0xd0, and a code.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    const MAGIC: u8 = 0xd0;
    let mut reader = Reader::new(payload.bytes);
    let len = usize::from(reader.be16()?);
    let [magic, format] = reader.array()?;
    let correlation = reader.be16()?;
    let inner = usize::from(reader.be16()?);
    let code = reader.be16()?;
    let name = code_name(code)?;
    // Requests, replies and objects; chained, and with the same number or the next.
    let is_format = matches!(format & 0x0f, 1..=5) && format & 0x80 == 0;
    if magic != MAGIC || !is_format || inner + 6 != len || inner < 4 {
        return None;
    }
    let of_correlation = if correlation <= 16 { 8 } else { 0 };
    let bits = 8 + 4 + 16 + 12 + of_correlation;
    let reason = "an object of DDM, with which DB2 begins: two sizes that agree and a code";
    let found = Identification::graded(Verdict::Db2, bits, reason)?;
    let mut details = Details::default();
    details.set("command", name);
    if len <= payload.wire_len {
        describe(&mut reader, &mut details);
    }
    Some(found.with(details))
}

/// The parameters of the first object: sizes, codes, and text in EBCDIC.
fn describe(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    const EXTERNAL_NAME: u16 = 0x115e;
    const SERVER_NAME: u16 = 0x116d;
    const SERVER_CLASS: u16 = 0x1147;
    const DATABASE: u16 = 0x2110;
    for _ in 0..12 {
        let len = usize::from(reader.be16()?);
        let code = reader.be16()?;
        let value = reader.take(len.checked_sub(4)?)?;
        let name = match code {
            EXTERNAL_NAME => "client",
            SERVER_NAME => "server",
            SERVER_CLASS => "class",
            DATABASE => "database",
            _ => continue,
        };
        let text: Vec<u8> = value.iter().map(|byte| ascii(*byte)).collect();
        details.set_some_text(name, Some(text.trim_ascii()));
    }
    Some(())
}

/// A letter, a digit or a common mark of EBCDIC; anything else is a question mark.
const fn ascii(byte: u8) -> u8 {
    match byte {
        0x40 => b' ',
        0x81..=0x89 => byte - 0x81 + b'a',
        0x91..=0x99 => byte - 0x91 + b'j',
        0xa2..=0xa9 => byte - 0xa2 + b's',
        0xc1..=0xc9 => byte - 0xc1 + b'A',
        0xd1..=0xd9 => byte - 0xd1 + b'J',
        0xe2..=0xe9 => byte - 0xe2 + b'S',
        0xf0..=0xf9 => byte - 0xf0 + b'0',
        0x4b => b'.',
        0x60 => b'-',
        0x61 => b'/',
        0x6d => b'_',
        _ => b'?',
    }
}

const fn code_name(code: u16) -> Option<&'static str> {
    Some(match code {
        0x1041 => "exchange of attributes",
        0x1443 => "reply with attributes",
        0x106d => "access to security",
        0x14ac => "reply to access to security",
        0x106e => "security check",
        0x1219 => "reply to security check",
        0x2001 => "access to a database",
        0x2201 => "reply to access to a database",
        0x2008 => "closing of a query",
        0x200a => "execution of a statement",
        0x200b => "execution of a statement with data",
        0x200c => "opening of a query",
        0x200d => "preparation of a statement",
        0x200e => "commit",
        0x2014 => "setting of a statement",
        0x2205 => "start of an answer to a query",
        0x1254 => "command check",
        0x2211 => "database not found",
        _ => return None,
    })
}
