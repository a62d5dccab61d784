//! MongoDB's wire protocol. Port 3717 is the default of Alibaba Cloud's ApsaraDB for MongoDB, so
//! of all that is seen on the five ports this is the likeliest to be honest.

use monitor_common::flow::Protocol;

use crate::{Grade, Identification, Payload, Verdict, details::Details, reader::Reader};

const OP_REPLY: u32 = 1;
/// Operations of servers before version 6.
const OP_UPDATE: u32 = 2001;
const OP_INSERT: u32 = 2002;
const OP_QUERY: u32 = 2004;
const OP_GET_MORE: u32 = 2005;
const OP_DELETE: u32 = 2006;
const OP_COMPRESSED: u32 = 2012;
const OP_MSG: u32 = 2013;

/// The largest message that a server takes, in bytes.
const MAX_MESSAGE: usize = 48_000_000;
/// Elements of a document that are looked at.
const MAX_ELEMENTS: usize = 64;

/// The port of ApsaraDB.
const APSARADB: u16 = 3717;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.le32()? as usize;
    // A message may go on in further segments.
    if !(16..=MAX_MESSAGE).contains(&len) || len < payload.wire_len {
        return None;
    }
    let _ids: [u8; 8] = reader.array()?;
    let opcode = reader.le32()?;
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    let mut details = Details::default();
    let operation = match opcode {
        OP_MSG => {
            // Flags of which the lower half must be known, then a section of one document.
            if reader.le32()? & 0xfffc != 0 || reader.u8()? != 0 {
                return None;
            }
            describe(reader.rest(), &mut details)?;
            "OP_MSG"
        }
        OP_QUERY => {
            reader.le32()?;
            let collection = reader.text_to_nul()?;
            details.set_text("collection", collection);
            reader.array::<8>()?;
            describe(reader.rest(), &mut details)?;
            "OP_QUERY"
        }
        OP_REPLY => {
            reader.array::<20>()?;
            describe(reader.rest(), &mut details)?;
            "OP_REPLY"
        }
        OP_UPDATE | OP_INSERT | OP_GET_MORE | OP_DELETE if len == payload.wire_len => {
            reader.le32()?;
            let collection = reader.text_to_nul()?;
            let is_name = collection.contains(&b'.') && collection.iter().all(u8::is_ascii_graphic);
            if !is_name || reader.rest().len() < 5 {
                return None;
            }
            details.set_text("collection", collection);
            match opcode {
                OP_UPDATE => "OP_UPDATE",
                OP_INSERT => "OP_INSERT",
                OP_GET_MORE => "OP_GET_MORE",
                _ => "OP_DELETE",
            }
        }
        OP_COMPRESSED if reader.le32()? == OP_MSG => "OP_COMPRESSED",
        _ => return None,
    };
    details.set("operation", operation);
    if payload.has_port(APSARADB) {
        details.set("note", "3717 is the default port of ApsaraDB for MongoDB");
    }
    let grade = if len == payload.wire_len { Grade::Confirmed } else { Grade::Consistent };
    let reason = "a MongoDB message: its size, its operation and the document in it agree";
    Some(Identification::new(Verdict::Mongodb, grade, reason).with(details))
}

/// Looks through the first level of a BSON document. Its first element is the command.
fn describe(bytes: &[u8], details: &mut Details) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let len = reader.le32()?;
    if !(5..=MAX_MESSAGE as u32).contains(&len) {
        return None;
    }
    let first = Element::read(&mut reader)?;
    details.set_text("command", first.name);
    // What follows may be cut.
    for _ in 0..MAX_ELEMENTS {
        let Some(element) = Element::read(&mut reader) else { break };
        if element.name == b"$db" {
            details.set_some_text("database", element.text());
        }
    }
    Some(())
}

/// An element of BSON, bsonspec.org.
struct Element<'a> {
    kind: u8,
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.u8()?;
        let name = reader.text_to_nul()?;
        let is_name = name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if !is_name || name.is_empty() {
            return None;
        }
        let len = match kind {
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            // Text, behind its size.
            0x02 => Self::size(reader)?.checked_add(4)?,
            // Documents and arrays, with their size.
            0x03 | 0x04 => Self::size(reader)?,
            // Bytes of a kind, behind their size.
            0x05 => Self::size(reader)?.checked_add(5)?,
            0x07 => 12,
            0x08 => 1,
            0x0a => 0,
            0x10 => 4,
            0x13 => 16,
            _ => return None,
        };
        // A value that was cut is as good as none.
        let value = reader.take(len).unwrap_or_default();
        Some(Self { kind, name, value })
    }

    /// The size that a value begins with, which stays in front.
    fn size(reader: &Reader<'_>) -> Option<usize> {
        let mut ahead = *reader;
        Some(ahead.le32()? as usize)
    }

    fn text(&self) -> Option<&'a [u8]> {
        let text = (self.kind == 0x02).then_some(self.value)?;
        text.get(4..text.len().checked_sub(1)?)
    }
}
