//! Simple Network Management Protocol, RFC 1157 and RFC 3416: BER, whose sizes must nest.

use super::ber::{self, INTEGER, OCTETS, SEQUENCE};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    if reader.u8()? != SEQUENCE {
        return None;
    }
    let len = ber::len(&mut reader)?;
    let header = payload.bytes.len() - reader.rest().len();
    if header + len != payload.wire_len || reader.array()? != [INTEGER, 1] {
        return None;
    }
    let mut details = Details::default();
    match reader.u8()? {
        version @ (0 | 1) => {
            details.set("version", if version == 0 { "1" } else { "2c" });
            community(&mut reader, &mut details)?;
        }
        3 => {
            let is_header = reader.u8()? == SEQUENCE && ber::len(&mut reader)? < len;
            if !is_header || reader.u8()? != INTEGER {
                return None;
            }
            details.set("version", "3");
        }
        _ => return None,
    }
    let reason = "an SNMP message, whose sizes nest";
    Some(Identification::confirmed(Verdict::Snmp, reason).with(details))
}

fn community(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    if reader.u8()? != OCTETS {
        return None;
    }
    let len = ber::len(reader)?;
    let _community = reader.take(len)?;
    let pdu = reader.u8()?;
    let name = match pdu {
        0xa0 => "get",
        0xa1 => "get-next",
        0xa2 => "response",
        0xa3 => "set",
        0xa4 => "trap",
        0xa5 => "get-bulk",
        0xa6 => "inform",
        0xa7 => "trap",
        _ => return None,
    };
    details.set("pdu", name);
    Some(())
}
