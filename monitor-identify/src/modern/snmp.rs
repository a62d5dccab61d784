//! Simple Network Management Protocol, RFC 1157 and RFC 3416: BER, whose sizes must nest.

use super::ber::{self, INTEGER, OCTETS, SEQUENCE};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = ber::enter(&mut reader, SEQUENCE)?;
    let header = payload.bytes.len() - reader.rest().len();
    let is_whole = header + len == payload.wire_len;
    if reader.array()? != [INTEGER, 1] {
        return None;
    }
    let version = reader.u8()?;
    let mut rest = reader;
    let (name, pdu) = match version {
        // Version 2 had users and parties before it had communities.
        0..=2 => (["1", "2c", "2"][usize::from(version)], Some(pdu(&mut rest)?)),
        3 => {
            let is_header = rest.u8()? == SEQUENCE && ber::len(&mut rest)? < len;
            if !is_header || rest.u8()? != INTEGER || !is_whole {
                return None;
            }
            ("3", None)
        }
        _ => return None,
    };
    let mut details = Details::default();
    details.set("version", name);
    details.set_known("pdu", pdu);
    let found = if is_whole {
        Identification::confirmed(Verdict::Snmp, "an SNMP message, whose sizes nest")
    } else {
        let reason = "an SNMP message: version, community and operation; its size is wrong";
        Identification::consistent(Verdict::Snmp, reason)
    };
    Some(found.with(details))
}

/// The name of the operation behind a community.
fn pdu(reader: &mut Reader<'_>) -> Option<&'static str> {
    if reader.u8()? != OCTETS {
        return None;
    }
    let len = ber::len(reader)?;
    let _community = reader.take(len)?;
    Some(match reader.u8()? {
        0xa0 => "get",
        0xa1 => "get-next",
        0xa2 => "response",
        0xa3 => "set",
        0xa4 | 0xa7 => "trap",
        0xa5 => "get-bulk",
        0xa6 => "inform",
        _ => return None,
    })
}
