//! Network Time Protocol, RFC 5905 §7.3, and the messages that its servers are managed with.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    evidence::{Evidence, REGISTERED_PORT},
};

const NTP: u16 = 123;
const LEN: usize = 48;
/// Of a client, RFC 5905 §3.
const CLIENT: u8 = 3;
/// 2⁻⁴⁰ s as an exponent of two; no clock is finer.
const FINEST_PRECISION: u8 = 0xd8;
/// The first byte of times from 1999 on.
const YEAR_2000: u8 = 0xbc;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    let first = *payload.bytes.first()?;
    match first & 7 {
        1..=5 => time(payload, first),
        6 | 7 => control(payload, first),
        _ => None,
    }
}

fn time(payload: &Payload<'_>, first: u8) -> Option<Identification> {
    let header: &[u8; LEN] = payload.bytes.first_chunk()?;
    let version = first >> 3 & 7;
    // An authenticator may follow.
    let is_size = matches!(payload.wire_len, LEN | 52 | 68 | 72)
        || (payload.has_port(NTP) && payload.wire_len <= 400 && payload.wire_len.is_multiple_of(4));
    if !(1..=4).contains(&version) || !is_size {
        return None;
    }
    let [stratum, poll, precision] = [header[1], header[2], header[3]];
    let [delay, dispersion] = [header[4], header[8]];
    // Precision is a small power of two; delay and dispersion are seconds in their upper half.
    // chrony hides its own behind 32.
    let has_precision = matches!(precision, 0 | 32) || precision >= FINEST_PRECISION;
    let is_plausible = stratum <= 16
        && poll <= 17
        && delay == 0
        && dispersion == 0
        && (is_bare_request(header, first & 7)
            || is_first_request(header, first & 7)
            || (has_precision && (payload.has_port(NTP) || has_times(header))));
    if !is_plausible {
        return None;
    }
    let mut details = Details::default();
    details.set("version", version);
    let modes = ["", "symmetric active", "symmetric passive", "client", "server", "broadcast"];
    details.set("mode", modes[usize::from(first & 7)]);
    details.set("stratum", stratum);
    let reason = "the size of an NTP message, with fields in their ranges";
    Some(Identification::consistent(Verdict::Ntp, reason).with(details))
}

/// A client that says nothing but a time, which may be any number; chrony hides even its precision.
fn is_bare_request(header: &[u8; LEN], mode: u8) -> bool {
    mode == CLIENT && header[4..40].iter().all(|byte| *byte == 0)
}

/// A client that says of its clock what it knows, as ntpd, ntpdate and Windows do, and was not
/// answered yet: it has no times of a server's to send back, only its own or a random one.
fn is_first_request(header: &[u8; LEN], mode: u8) -> bool {
    let is_zero = |range: std::ops::Range<usize>| header[range].iter().all(|byte| *byte == 0);
    let (reference, answered, sent) = (16..24, 24..40, 40..48);
    mode == CLIENT
        && header[3] >= FINEST_PRECISION
        && (is_zero(reference) || header[16] >= YEAR_2000)
        && is_zero(answered)
        && !is_zero(sent)
}

/// On another port than NTP's it takes times of this century.
fn has_times(header: &[u8; LEN]) -> bool {
    header[40] >= YEAR_2000 && header[32] >= YEAR_2000
}

/// Control (RFC 9327) and private messages, by which servers are managed and made to amplify.
fn control(payload: &Payload<'_>, first: u8) -> Option<Identification> {
    let version = first >> 3 & 7;
    if !(1..=4).contains(&version) {
        return None;
    }
    let (mode, message, bits) = if first & 7 == 6 {
        let (is_response, bits) = readvar(payload)?;
        ("control", if is_response { "response" } else { "request" }, bits)
    } else {
        let (message, bits) = private(payload)?;
        ("private", message, bits)
    };
    let home = if payload.has_port(NTP) { REGISTERED_PORT } else { 0 };
    let reason = "a message by which NTP servers are managed, and made to amplify";
    let grade = Evidence::bits(bits + home).grade()?.min(Grade::Consistent);
    let mut details = Details::default();
    details.set("mode", mode);
    details.set("message", message);
    Some(Identification::new(Verdict::Ntp, grade, reason).with(details))
}

/// Mode 6: an operation, a sequence, a status, an association, offset and count. Whether it is a
/// response, and the bits of evidence.
fn readvar(payload: &Payload<'_>) -> Option<(bool, u32)> {
    let header: &[u8; 12] = payload.bytes.first_chunk()?;
    let operation = header[1];
    let count = usize::from(u16::from_be_bytes([header[10], header[11]]));
    let is_response = operation & 0x80 != 0;
    if !matches!(operation & 0x1f, 0x01..=0x0c | 0x1f) || count > 480 {
        return None;
    }
    let is_size = (12 + count..=12 + count.next_multiple_of(4) + 24).contains(&payload.wire_len);
    if !is_response {
        // Neither status nor offset; the association is 0 or one that was listed.
        let is_zero = header[4..6] == [0; 2] && header[8..10] == [0; 2] && payload.wire_len <= 24;
        return is_zero.then_some((false, 4 + 3 + 8 + 28));
    }
    // Variables are text.
    let text = payload.bytes.get(12..).unwrap_or_default();
    let is_text = text
        .iter()
        .take(count)
        .all(|byte| *byte == 0 || *byte >= 0x20 || byte.is_ascii_whitespace());
    (is_size && is_text).then_some((true, 4 + if count > 8 { 26 } else { 6 }))
}

/// Mode 7: a sequence, an implementation, a request, the number of items and their size.
fn private(payload: &Payload<'_>) -> Option<(&'static str, u32)> {
    let &[first, sequence, implementation, request, e0, e1, s0, s1, ..] = payload.bytes else {
        return None;
    };
    if !matches!(implementation, 0 | 2 | 3) || request > 0x2e {
        return None;
    }
    let name = match request {
        0x2a | 0x14 => "monlist",
        0x00 => "peer list",
        0x01 => "peer list with state",
        _ => "other",
    };
    if first & 0x80 == 0 {
        let is_zero = payload.bytes.iter().skip(4).all(|byte| *byte == 0);
        let is_request = is_zero && payload.wire_len >= 8 && sequence == 0;
        let is_known = name != "other" || payload.has_port(NTP);
        return (is_request && is_known).then_some((name, 4 + 8 + 6 + 32));
    }
    // An error in the upper four bits, and no more items than a packet holds.
    let items = usize::from(u16::from_be_bytes([e0 & 0x0f, e1]));
    let size = usize::from(u16::from_be_bytes([s0 & 0x0f, s1]));
    let is_filled = e0 & 0xf0 != 0 || items * size + 8 == payload.wire_len;
    // What was cut in a capture.
    let may_be_filled = items > 0 && (items * size + 8) >= payload.wire_len && items * size <= 500;
    let is_response = s0 & 0xf0 == 0 && items <= 500 && (is_filled || may_be_filled);
    let is_answer = sequence & 0x80 == 0 || items > 0;
    (is_response && is_answer).then_some((name, 4 + 6 + 4 + if is_filled { 12 } else { 6 }))
}
