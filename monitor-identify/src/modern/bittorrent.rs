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
        b'B' if bytes.starts_with(b"BT-SEARCH * HTTP/1.1") => Some(Identification::confirmed(
            Verdict::Bittorrent,
            "a BitTorrent client's search for peers in its network",
        )),
        0 if bytes.starts_with(TRACKER_MAGIC) => Some(Identification::confirmed(
            Verdict::Bittorrent,
            "a BitTorrent client's connection to a tracker",
        )),
        0x41 => transport(payload),
        _ => None,
    }
}

/// A dictionary of bencoding with a transaction and a kind of message, in any order.
fn hash_table(bytes: &[u8]) -> Option<Identification> {
    const STARTS: [&[u8]; 3] = [b"d1:", b"d2:ip", b"d2:ro"];
    let start = &bytes[..bytes.len().min(512)];
    if !STARTS.into_iter().any(|known| start.starts_with(known)) {
        return None;
    }
    let has_id = contains(start, b"2:id20:");
    let kind = [(&b"1:y1:q"[..], "query"), (b"1:y1:r", "response"), (b"1:y1:e", "error")]
        .into_iter()
        .find(|(known, _)| contains(start, known));
    let has_transaction = contains(start, b"1:t");
    let is_usual = bytes.starts_with(b"d1:ad2:id20:") || bytes.starts_with(b"d1:rd2:id20:");
    // Keys in an order of the sender's own, and an end that was not captured.
    let is_message = (kind.is_some() && (has_transaction || has_id))
        || (contains(start, b"1:q") && has_id && has_transaction)
        || (bytes.starts_with(b"d1:el") && has_transaction);
    if !is_usual && !is_message {
        return None;
    }
    const QUERIES: [&str; 4] = ["ping", "find_node", "get_peers", "announce_peer"];
    let mut details = Details::default();
    details.set_known("message", kind.map(|(_, name)| name));
    details.set_known("query", QUERIES.into_iter().find(|query| contains(start, query.as_bytes())));
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
