//! BitTorrent: its connections (BEP 3), hash table (BEP 5), trackers (BEP 15) and µTP (BEP 29).

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details, reader::contains};

const TRACKER_MAGIC: &[u8] = &[0, 0, 0x04, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0];

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    match bytes.first()? {
        0x13 if bytes.starts_with(b"\x13BitTorrent protocol") => Some(Identification::confirmed(
            Verdict::Bittorrent,
            "the handshake of a BitTorrent connection",
        )),
        b'd' => hash_table(bytes),
        0 if bytes.starts_with(TRACKER_MAGIC) => Some(Identification::confirmed(
            Verdict::Bittorrent,
            "a BitTorrent client's connection to a tracker",
        )),
        0x41 => transport(payload),
        _ => None,
    }
}

/// A dictionary with an argument, an answer or an error, and a transaction.
fn hash_table(bytes: &[u8]) -> Option<Identification> {
    const STARTS: [&[u8]; 4] = [b"d1:ad2:id20:", b"d1:rd2:id20:", b"d1:el", b"d2:ip"];
    let start = STARTS.into_iter().find(|start| bytes.starts_with(start))?;
    if start.len() < 12 && !contains(bytes, b"1:t") {
        return None;
    }
    const QUERIES: [&str; 4] = ["ping", "find_node", "get_peers", "announce_peer"];
    let mut details = Details::default();
    details.set_known("query", QUERIES.into_iter().find(|query| contains(bytes, query.as_bytes())));
    let reason = "a message of BitTorrent's hash table";
    Some(Identification::confirmed(Verdict::Bittorrent, reason).with(details))
}

/// The first packet of a µTP connection: version 1, no delay measured, sequence number 1.
fn transport(payload: &Payload<'_>) -> Option<Identification> {
    let header: &[u8; 20] = payload.bytes.try_into().ok()?;
    let is_first = header[1] == 0 && header[8..12] == [0; 4] && header[16..18] == [0, 1];
    (is_first && payload.may_be(Protocol::Udp)).then(|| {
        Identification::consistent(Verdict::Bittorrent, "the first packet of a µTP connection")
    })
}
