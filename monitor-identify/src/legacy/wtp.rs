//! Wireless Transaction Protocol, WAP-224-WTP §8, with a PDU of WSP inside: port 9201.

use monitor_common::flow::Protocol;

use super::{
    port,
    push::{CONFIRMED_PUSH, PUSH},
    session::Pdu,
};
use crate::{
    Grade, Identification, Payload, Verdict, details::Details, evidence::Evidence, reader::Reader,
};

/// The flag of the last packet of a message, §8.2.3 (TTR).
const TRAILER: u8 = 0x02;
/// Items of a variable header that are walked.
const MAX_ITEMS: usize = 8;
/// A session with a larger number is as likely to be noise: gateways count from 0.
const MAX_SESSION: u64 = 1 << 12;
/// Head of an item of one byte that is the last of a header: the number of a segment, §8.4.4.
const SEGMENT_ITEM: u8 = 0x19;
/// Segments of a message; a handset has no room for more of 1,400 bytes.
const MAX_SEGMENT: u8 = 0x20;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    match payload.bytes.first()? >> 3 & 0x0f {
        1 => invoke(payload),
        2 => result(payload),
        3 => acknowledgement(payload),
        4 => abort(payload),
        _ => None,
    }
}

/// The start of a transaction.
fn invoke(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let header: [u8; 4] = reader.array()?;
    let class = header[3] & 0x03;
    // Version 0, the reserved bits, and one of three classes.
    if header[3] & 0xcc != 0 || class == 3 {
        return None;
    }
    skip_items(header[0], &mut reader)?;
    if class == 0
        && let Some(found) = session_end(payload, header, &reader)
    {
        return Some(found);
    }
    // One packet is the last of its message. Only pushes do without an answer, class 2.
    let is_push = matches!(reader.peek(), Some(PUSH | CONFIRMED_PUSH));
    if header[0] & TRAILER == 0 || (class != 2) != is_push {
        return None;
    }
    let found = carried(payload, &reader, 5 + 4)?;
    let mut details = head("Invoke", header);
    details.set("class", class);
    Some(with(details, found))
}

/// A session's Disconnect or Suspend, which expects no answer: its type and the session's number,
/// which on another port could be anything.
fn session_end(
    payload: &Payload<'_>,
    header: [u8; 4],
    content: &Reader<'_>,
) -> Option<Identification> {
    const DISCONNECT: u8 = 0x05;
    const SUSPEND: u8 = 0x08;
    let mut content = *content;
    let name = match content.u8()? {
        DISCONNECT => "Disconnect",
        SUSPEND => "Suspend",
        _ => return None,
    };
    let session = content.uintvar().filter(|session| *session < MAX_SESSION)?;
    // A client sends them in one packet, which is not sent again, with or without the user's
    // acknowledgement.
    const ONE_PACKET: u8 = 0x0a;
    let is_bare = header[0] == ONE_PACKET && matches!(header[3], 0x00 | 0x10) && content.is_empty();
    let is_initiator = header[1] & 0x80 == 0;
    // The transaction that began the session had the first number. Without the user's
    // acknowledgement, zeros would do for all that is left.
    let is_acknowledged = header[3] == 0x10;
    let is_later = if is_acknowledged {
        header[1] != 0 || header[2] != 0
    } else {
        header[2] != 0 && session != 0
    };
    let is_there = payload.destination_port == Some(port::WTP)
        && is_initiator
        && is_later
        && is_on_port(payload);
    (is_bare && is_there).then(|| {
        let mut details = head("Invoke", header);
        details.set("class", 0);
        details.set("pdu", name);
        details.set("session_id", session);
        let reason =
            "a WTP transaction without an answer that ends a session of WSP, on WTP's port";
        Identification::consistent(Verdict::Wtp, reason).with(details)
    })
}

/// Whether a few bytes may be WTP: a whole datagram from or to its port.
fn is_on_port(payload: &Payload<'_>) -> bool {
    payload.transport == Some(Protocol::Udp) && payload.has_port(port::WTP) && !payload.is_cut()
}

/// The answer to one.
fn result(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [first, high, low] = reader.array()?;
    // Only a responder answers.
    if high & 0x80 == 0 {
        return None;
    }
    skip_items(first, &mut reader)?;
    let found = carried(payload, &reader, 5 + 1)?;
    Some(with(head("Result", [first, high, low, 0]), found))
}

fn head(pdu: &'static str, [_, high, low, _]: [u8; 4]) -> Details {
    let mut details = Details::default();
    details.set("wtp_pdu", pdu);
    details.set("tid", u16::from_be_bytes([high & 0x7f, low]));
    details
}

/// Skips the items of a variable header, §8.3: the highest bit says whether there is one more.
fn skip_items(first: u8, reader: &mut Reader<'_>) -> Option<()> {
    let mut is_more = first & 0x80 != 0;
    for _ in 0..MAX_ITEMS {
        if !is_more {
            return Some(());
        }
        let item = reader.u8()?;
        is_more = item & 0x80 != 0;
        let len = if item & 0x04 != 0 { reader.u8()? } else { item & 0x03 };
        reader.take(len.into())?;
    }
    None
}

/// What a transaction carries decides: its own header is four bytes that say little.
fn carried(payload: &Payload<'_>, reader: &Reader<'_>, bits: u32) -> Option<Identification> {
    let missing = payload.missing();
    let pdu = Pdu::read(reader.rest(), missing).or_else(|| Pdu::push(reader.rest(), missing))?;
    let mut evidence = Evidence::bits(bits);
    evidence.join(pdu.evidence);
    if !evidence.is_enough() {
        return None;
    }
    let (grade, reason) = if pdu.is_whole {
        (Grade::Confirmed, "a WTP transaction with a PDU of WSP that holds to its end")
    } else {
        (Grade::Consistent, "a WTP transaction with the beginning of a PDU of WSP")
    };
    let mut details = Details::default();
    pdu.describe(&mut details);
    Some(Identification::new(Verdict::Wtp, grade, reason).with(details))
}

/// Puts what the transaction says before what it carries.
fn with(mut head: Details, found: Identification) -> Identification {
    head.append(found.details);
    Identification { details: head, ..found }
}

/// Three bytes, or five with the number of the last segment that arrived, which on another port could
/// be anything.
fn acknowledgement(payload: &Payload<'_>) -> Option<Identification> {
    match *payload.bytes {
        [0x18..=0x1f, high, low] => {
            is_on_port(payload).then(|| short(head("Ack", [0, high, low, 0])))
        }
        [0x98 | 0x99, high, low, SEGMENT_ITEM, segment] if segment < MAX_SEGMENT => {
            // A gateway sends the segments, so the initiator acknowledges them.
            let is_initiator = high & 0x80 == 0 && payload.destination_port == Some(port::WTP);
            (is_initiator && is_on_port(payload)).then(|| {
                let mut details = head("Ack", [0, high, low, 0]);
                details.set("segment", segment);
                short(details)
            })
        }
        _ => None,
    }
}

/// Four bytes with a reason, which on another port could be anything.
fn abort(payload: &Payload<'_>) -> Option<Identification> {
    let [kind @ (0x20 | 0x21), high, low, reason] = *payload.bytes else { return None };
    let (by, is_assigned) = match kind {
        0x20 => ("provider", reason <= 0x09),
        _ => ("user", matches!(reason, 0xe0..=0xeb)),
    };
    if !is_assigned || !is_on_port(payload) {
        return None;
    }
    let mut details = head("Abort", [0, high, low, 0]);
    details.set("aborted_by", by);
    details.set("abort_reason", reason);
    Some(short(details))
}

fn short(details: Details) -> Identification {
    Identification::consistent(
        Verdict::Wtp,
        "the size and the first byte of a short WTP PDU, on WTP's port 9201",
    )
    .with(details)
}
