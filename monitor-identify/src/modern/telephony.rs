//! Telephones: H.323 and Skinny.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains},
};

/// The object identifier of H.225.0 without its version, 0.0.8.2250.0, which every registration and
/// every call has in its first bytes.
const H225: &[u8] = &[0x00, 0x08, 0x91, 0x4a, 0x00];

/// H.225.0: registrations over UDP, calls by Q.931 inside TPKT.
pub(crate) fn h323(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    if bytes.starts_with(&[3, 0]) {
        return call(payload);
    }
    let start = bytes.get(..32).unwrap_or(bytes);
    if !contains(start, H225) {
        return None;
    }
    // PER: a choice of 32 messages in five bits behind the extension's.
    let names = [
        "gatekeeper request",
        "gatekeeper confirm",
        "gatekeeper reject",
        "registration request",
        "registration confirm",
        "registration reject",
        "unregistration request",
        "unregistration confirm",
        "unregistration reject",
        "admission request",
    ];
    let message = names.get(usize::from(bytes[0] >> 2 & 0x1f)).copied();
    let mut details = Details::default();
    details.set_known("message", message);
    let reason = "the object identifier of H.225.0 in a message of H.323's registration";
    Some(Identification::confirmed(Verdict::H323, reason).with(details))
}

/// The object identifier of H.245 without its version, 0.0.8.245.0.
const H245: &[u8] = &[0x00, 0x08, 0x81, 0x75, 0x00];

fn call(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let _version = reader.be16()?;
    let len = usize::from(reader.be16()?);
    if contains(payload.bytes.get(..24).unwrap_or(payload.bytes), H245) {
        let reason = "the object identifier of H.245 inside TPKT, which controls calls of H.323";
        return Some(Identification::confirmed(Verdict::H323, reason));
    }
    // Q.931: its discriminator, and a call reference of two bytes.
    let [0x08, 2, _, _, message] = reader.array()? else { return None };
    let name = match message {
        0x01 => "alerting",
        0x02 => "call proceeding",
        0x05 => "setup",
        0x07 => "connect",
        0x5a => "release complete",
        0x62 => "facility",
        0x7d => "status",
        _ => return None,
    };
    if len < 9 || len > payload.wire_len + 4096 {
        return None;
    }
    let has_identifier = contains(payload.bytes, H225);
    let of_identifier = if has_identifier { 40 } else { 0 };
    let of_size = if len == payload.wire_len { 14 } else { 0 };
    let reason = "a message of Q.931 inside TPKT, as H.323 calls have it";
    let found =
        Identification::graded(Verdict::H323, 16 + 16 + 5 + of_identifier + of_size - 8, reason)?;
    let mut details = Details::default();
    details.set("message", name);
    Some(found.with(details))
}

/// Skinny Client Control Protocol of Cisco: length, header version, message.
pub(crate) fn skinny(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.le32()? as usize;
    let version = reader.le32()?;
    let message = reader.le32()?;
    let (name, is_size) = match message {
        0x0000 => ("keep-alive", len <= 8),
        0x0001 => ("register", (36..=300).contains(&len)),
        0x0002 => ("IP port", len <= 12),
        0x0003 => ("keypad button", len <= 20),
        0x0006 => ("off hook", len <= 20),
        0x0007 => ("on hook", len <= 20),
        0x0026 => ("soft key event", len <= 24),
        0x0081 => ("register acknowledgement", (16..=40).contains(&len)),
        0x009d => ("register reject", len <= 44),
        0x0100 => ("keep-alive acknowledgement", len <= 8),
        0x0004..=0x0150 => ("other", len <= 2000),
        _ => return None,
    };
    let is_version = version == 0 || matches!(version, 0x0a..=0x16);
    if len < 4 || !is_size || !is_version {
        return None;
    }
    let is_whole = len + 8 == payload.wire_len;
    // Several messages often share a segment.
    let is_chain = !is_whole && len + 8 < payload.wire_len && {
        reader.take(len - 4).is_some()
            && reader.le32().is_some_and(|next| next < 2000)
            && reader.le32() == Some(version)
    };
    if !is_whole && !is_chain {
        return None;
    }
    let of_message = if name == "other" { 14 } else { 18 };
    let reason = "a message of Skinny, Cisco's telephone protocol: size, version and message";
    let found = Identification::graded(Verdict::Skinny, 10 + 14 + of_message, reason)?;
    let mut details = Details::default();
    details.set("message", name);
    if message == 1 {
        let device = reader.take(16).and_then(|name| name.split(|byte| *byte == 0).next());
        details.set_some_text("device", device);
    }
    Some(found.with(details))
}
