//! Traffic that attacked the handsets of the time. It harms no Linux host, and the reasons say so.

use monitor_common::flow::Direction;

use crate::{
    Identification, Payload, Verdict, details::Details, reader::contains, reader::is_printable,
};

/// How every payload of NotiFlood begins (Mulliner, 2006): transaction 0, a push with its content
/// type spelt out, and a multimedia notification.
const NOTIFLOOD_START: &[u8] =
    b"\x00\x06\x22application/vnd.wap.mms-message\x00\xaf\x84\x8c\x82\x98";

/// Behind the transaction id: version 1.0 and a sender in its odd encoding.
const NOTIFLOOD_SENDER: &[u8] = b"\x00\x8d\x90\x89\x1f\x3d\x80\x1f\x3a\x83";

/// Transaction ids that the tool sends have 56 bytes in a flood, and some 264 in a crash, all alike.
const LONGEST_FLOOD_ID: usize = 255;
const SHORTEST_FLOOD_ID: usize = 32;

/// The tool NotiFlood, by what it alone sends. Its first bytes are those of any notification with
/// transaction 0: it takes its sender field, or its transaction id of one letter.
pub(super) fn notiflood(payload: &Payload<'_>) -> Option<Identification> {
    let rest = payload.bytes.strip_prefix(NOTIFLOOD_START)?;
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let id = &rest[..end];
    if !is_printable(id) {
        return None;
    }
    let has_sender = contains(rest, NOTIFLOOD_SENDER);
    let is_filled = end >= SHORTEST_FLOOD_ID && id.iter().all(|byte| *byte == id[0]);
    if !has_sender && !is_filled {
        return None;
    }
    let mut identification = if has_sender {
        Identification::confirmed(
            Verdict::Notiflood,
            "attack traffic aimed at old handsets: first bytes and sender field are those of the \
             tool NotiFlood; Linux hosts are not affected",
        )
    } else {
        Identification::consistent(
            Verdict::Notiflood,
            "attack traffic aimed at old handsets: the first 39 bytes are those of the tool \
             NotiFlood, and its transaction id is one letter repeated; Linux hosts are not affected",
        )
    };
    let details = &mut identification.details;
    details.set("tool", "NotiFlood");
    details.set("transaction_id_bytes", end);
    details.set("cve", if end > LONGEST_FLOOD_ID { "CVE-2006-4131" } else { "CVE-2006-4132" });
    note_origin(payload, details);
    Some(identification)
}

/// A push with a size that is larger than the packet.
pub(super) fn overflow(payload: &Payload<'_>, what: &'static str) -> Identification {
    let mut identification = Identification::suspect(
        Verdict::WapPushOverflow,
        "attack traffic aimed at old handsets: a WSP push with a size field larger than the packet, \
         the shape of CVE-2009-0396; a damaged push looks the same; Linux hosts are not affected",
    );
    let details = &mut identification.details;
    details.set("cve", "CVE-2009-0396");
    details.set("oversized", what);
    note_origin(payload, details);
    identification
}

/// A notification with a field that no honest sender fills so far.
pub(super) fn overlong(
    payload: &Payload<'_>,
    (field, len): (&'static str, usize),
) -> Identification {
    let mut identification = Identification::consistent(
        Verdict::MmsOverflow,
        "attack traffic aimed at old handsets: a multimedia notification with a field longer than \
         255 bytes, the shape of CVE-2006-4131 and CVE-2006-4132; Linux hosts are not affected",
    );
    let details = &mut identification.details;
    details.set("cve", "CVE-2006-4131, CVE-2006-4132");
    details.set("overlong", field);
    details.set("overlong_bytes", len);
    note_origin(payload, details);
    identification
}

/// An attack that leaves this host is another matter than one that comes in.
fn note_origin(payload: &Payload<'_>, details: &mut Details) {
    if let Some(direction) = payload.direction {
        details.set("sent_by_this_host", direction == Direction::Egress);
    }
}
