//! Screens and objects of other machines: VNC and Java RMI.

use crate::{Identification, Payload, Verdict, details::Details};

/// RFC 6143 §7.1.1: either side begins with its version, in twelve bytes.
pub(crate) fn vnc(payload: &Payload<'_>) -> Option<Identification> {
    let version = payload.bytes.strip_prefix(b"RFB ")?.get(..7)?;
    let [a, b, c, b'.', d, e, f] = version else { return None };
    if ![a, b, c, d, e, f].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut details = Details::default();
    details.set_text("version", version);
    Some(Identification::confirmed(Verdict::Vnc, "the version line of VNC").with(details))
}

/// Java Object Serialization and RMI Specification, §10.2: magic, version, protocol.
pub(crate) fn java_rmi(payload: &Payload<'_>) -> Option<Identification> {
    let [0, version @ (1 | 2), protocol @ 0x4b..=0x4d, ..] = payload.bytes.strip_prefix(b"JRMI")?
    else {
        return None;
    };
    let mut details = Details::default();
    details.set("version", *version);
    let protocol = ["stream", "single operation", "multiplex"][usize::from(protocol - 0x4b)];
    details.set("protocol", protocol);
    Some(Identification::confirmed(Verdict::JavaRmi, "the header of Java RMI").with(details))
}
