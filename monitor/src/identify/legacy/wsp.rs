//! Connectionless WSP other than pushes: requests and replies behind a transaction id, port 9200.

use monitor_common::flow::Protocol;

use super::{
    super::{Grade, Identification, Payload, Verdict},
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
    let (grade, reason) = if pdu.is_whole {
        (Grade::Confirmed, "connectionless WSP: sizes, address and headers hold to the end")
    } else if payload.is_cut() {
        (Grade::Consistent, "connectionless WSP, as far as it was captured")
    } else {
        (Grade::Suspect, "begins as connectionless WSP, and its headers are malformed")
    };
    pdu.details.set("tid", *tid);
    Some(Identification::new(Verdict::Wsp, grade, reason).with(pdu.details))
}
