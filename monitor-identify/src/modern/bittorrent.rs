//! BitTorrent: its connections (BEP 3), hash table (BEP 5), trackers (BEP 15) and µTP (BEP 29).

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict, details::Details, evidence::Evidence, reader::contains,
};

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
        0x01 | 0x11 | 0x21 | 0x31 | 0x41 => transport(payload),
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

/// A packet of µTP: version 1, its type, an extension, and the window that all clients begin with.
fn transport(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 20;
    const USUAL_WINDOW: u32 = 1 << 20;
    let header: &[u8; HEADER_LEN] = payload.bytes.first_chunk()?;
    let &[kind, extension @ 0..=2, ..] = header else { return None };
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (delay, window) = (word(8), word(12));
    let is_first = kind == 0x41;
    // A first packet has neither a delay that was measured nor data.
    if is_first && (delay != 0 || payload.wire_len > HEADER_LEN + 10) {
        return None;
    }
    let of_delay = if is_first { 12 } else { 0 };
    let of_window = if window == USUAL_WINDOW { 20 } else { 0 };
    let of_sequence = if is_first && header[16..18] == [0, 1] { 12 } else { 0 };
    let bits = 5 + 6 + of_delay + of_window + of_sequence;
    if !payload.may_be(Protocol::Udp)
        || (extension == 0 && kind == 0x21 && payload.wire_len != HEADER_LEN)
    {
        return None;
    }
    let reason = "a packet of µTP, BitTorrent's transport: version, type, and window or delay";
    let grade = Evidence::bits(bits).grade()?.min(Grade::Consistent);
    Some(Identification::new(Verdict::Bittorrent, grade, reason))
}
