//! Connectionless WSP other than pushes: requests and replies behind a transaction id, port 9200.

use monitor_common::flow::Protocol;

use super::session::Pdu;
use crate::{Identification, Payload, Verdict, details::Details};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let (tid, rest) = payload.bytes.split_first()?;
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut pdu = Pdu::read(rest, payload.missing())?;
    if !pdu.is_whole {
        return None;
    }
    let with_details = |pdu: &Pdu<'_>, found: Identification| {
        let mut details = Details::default();
        pdu.describe(&mut details);
        details.set("tid", *tid);
        found.with(details)
    };
    if pdu.evidence.is_enough() {
        let reason = "connectionless WSP: sizes, address and headers hold to the end";
        return Some(with_details(&pdu, Identification::confirmed(Verdict::Wsp, reason)));
    }
    // Of a short address, the size that ends the packet is evidence as well.
    if pdu.ends_by_size && !payload.is_cut() {
        pdu.evidence.add(8);
    }
    let reason = "connectionless WSP: a short address whose size ends the packet";
    let is_wsp = pdu.evidence.is_enough();
    is_wsp.then(|| with_details(&pdu, Identification::consistent(Verdict::Wsp, reason)))
}
