//! Simple Network Management Protocol, RFC 1157 and RFC 3416: BER, whose sizes must nest.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    if reader.u8()? != SEQUENCE {
        return None;
    }
    let len = ber_len(&mut reader)?;
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
            let is_header = reader.u8()? == SEQUENCE && ber_len(&mut reader)? < len;
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
    let len = ber_len(reader)?;
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

/// A size of at most two bytes, X.690 §8.1.3.
fn ber_len(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        short @ ..=0x7f => Some(short.into()),
        0x81 => reader.u8().map(usize::from),
        0x82 => reader.be16().map(usize::from),
        _ => None,
    }
}
