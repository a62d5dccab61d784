//! Connectionless WSP other than pushes: requests and replies behind a transaction id, port 9200.

use monitor_common::flow::Protocol;

use super::{
    super::{Identification, Payload, Verdict},
    session::Pdu,
};

pub(super) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let (tid, rest) = payload.bytes.split_first()?;
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let mut pdu = Pdu::read(rest, payload.wire_len.saturating_sub(payload.bytes.len()))?;
    if !pdu.evidence.is_enough() {
        return None;
    }
    if !pdu.is_whole {
        return None;
    }
    pdu.details.set("tid", *tid);
    let reason = "connectionless WSP: sizes, address and headers hold to the end";
    Some(Identification::confirmed(Verdict::Wsp, reason).with(pdu.details))
}
