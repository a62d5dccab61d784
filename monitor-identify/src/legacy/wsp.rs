//! Connectionless WSP other than pushes: requests and replies behind a transaction id, port 9200.

use monitor_common::flow::Protocol;

use super::session::Pdu;
use crate::{Identification, Payload, Verdict};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let (tid, rest) = payload.bytes.split_first()?;
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut pdu = Pdu::read(rest, payload.missing())?;
    if !pdu.is_whole {
        return None;
    }
    pdu.details.set("tid", *tid);
    if pdu.evidence.is_enough() {
        let reason = "connectionless WSP: sizes, address and headers hold to the end";
        return Some(Identification::confirmed(Verdict::Wsp, reason).with(pdu.details));
    }
    // Of a short address, the size that ends the packet is evidence as well.
    if pdu.ends_by_size && !payload.is_cut() {
        pdu.evidence.add(8);
    }
    let reason = "connectionless WSP: a short address whose size ends the packet";
    let is_wsp = pdu.evidence.is_enough();
    is_wsp.then(|| Identification::consistent(Verdict::Wsp, reason).with(pdu.details))
}
