//! Domain Name System, RFC 1035 §4, on UDP and, behind a length, on TCP.

use monitor_common::flow::Protocol;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::Reader,
};

const HEADER_LEN: usize = 12;
const MAX_LABELS: usize = 32;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    if payload.may_be(Protocol::Udp)
        && let Some(message) = message(bytes, payload.wire_len)
    {
        return Some(message);
    }
    if payload.may_be(Protocol::Tcp) {
        let (len, rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes(*len));
        if len + 2 == payload.wire_len {
            return message(rest, len);
        }
    }
    None
}

fn message(bytes: &[u8], wire_len: usize) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    let _id = reader.be16()?;
    let flags = reader.be16()?;
    let [questions, answers, authorities, additional] =
        [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?];
    let is_response = flags & 0x8000 != 0;
    let opcode = flags >> 11 & 15;
    // One question, as everybody asks; the bit that must be zero; an assigned opcode.
    if questions != 1 || flags & 0x0040 != 0 || !matches!(opcode, 0 | 2 | 4 | 5) {
        return status(bytes, flags, [questions, answers, authorities, additional]);
    }
    let most = if is_response { 256 } else { 2 };
    if answers > most || authorities > most || additional > most || (!is_response && answers > 0) {
        return None;
    }
    let name = name(&mut reader)?;
    let (kind, class) = (reader.be16()?, reader.be16()?);
    if !matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255) || !is_type(kind) {
        return None;
    }
    let records = usize::from(answers) + usize::from(authorities) + usize::from(additional);
    // A record takes 11 bytes at least; without one the message ends here.
    let asked = HEADER_LEN + (bytes.len() - HEADER_LEN - reader.rest().len());
    if (records == 0 && asked != wire_len) || (records > 0 && wire_len < asked + 11 * records) {
        return None;
    }
    let mut details = Details::default();
    details.set("name", shown(&name));
    details.set("type", type_name(kind));
    details.set("response", is_response);
    if is_response {
        details.set("answers", answers);
    }
    let asks_version = class == 3 && name.eq_ignore_ascii_case(b"version.bind");
    if asks_version {
        details.set("note", "asks for the server's version, as scanners do");
    }
    let reason = "a DNS message: flags, counts, and a question that can be read to its end";
    Some(Identification::confirmed(Verdict::Dns, reason).with(details))
}

/// A request for a server's status has no question; Nmap sends it.
fn status(bytes: &[u8], flags: u16, counts: [u16; 4]) -> Option<Identification> {
    const STATUS: u16 = 0x1000;
    let is_status = flags & 0x7fff & !0x000f == STATUS && counts == [0; 4];
    (is_status && bytes.len() == HEADER_LEN).then(|| {
        Identification::consistent(Verdict::Dns, "the header of a DNS status request, and no more")
    })
}

/// The name, with a dot between labels.
fn name(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    for _ in 0..MAX_LABELS {
        let len = reader.u8()?;
        if len == 0 {
            return Some(if name.is_empty() { b".".to_vec() } else { name });
        }
        let label = reader.take(usize::from(len))?;
        if len > 63 || !label.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return None;
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(label);
    }
    None
}

/// Types that are assigned, roughly.
const fn is_type(kind: u16) -> bool {
    matches!(kind, 1..=66 | 99..=109 | 128 | 249..=262 | 32768 | 32769)
}

fn type_name(kind: u16) -> String {
    let name = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        _ => return kind.to_string(),
    };
    name.to_owned()
}
