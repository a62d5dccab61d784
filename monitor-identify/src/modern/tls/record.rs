//! What the records of TLS and DTLS have in common.

use crate::{Identification, Verdict, details::Details};

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
pub(super) const HEARTBEAT: u8 = 24;

pub(super) const fn name(kind: u8) -> &'static str {
    match kind {
        CHANGE_CIPHER_SPEC => "change of ciphers",
        ALERT => "alert",
        HANDSHAKE => "handshake",
        APPLICATION_DATA => "application data",
        HEARTBEAT => "heartbeat",
        _ => "other",
    }
}

/// An alert in plain text.
pub(super) fn alert(len: u16, rest: &[u8]) -> Option<Identification> {
    let (2, [level @ 1..=2, description, ..]) = (len, rest) else { return None };
    let mut details = Details::default();
    details.set("alert", *description);
    details.set("level", if *level == 1 { "warning" } else { "fatal" });
    Some(Identification::confirmed(Verdict::Tls, "a TLS alert").with(details))
}
