//! Network Time Protocol, RFC 5905 §7.3, and the messages that its servers are managed with.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details};

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
    if !(1..=4).contains(&version) || !matches!(payload.wire_len, LEN | 52 | 68 | 72) {
        return None;
    }
    let [stratum, poll, precision] = [header[1], header[2], header[3]];
    let [delay, dispersion] = [header[4], header[8]];
    // Precision is a small power of two; delay and dispersion are seconds in their upper half.
    let has_precision = precision == 0 || precision >= FINEST_PRECISION;
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

/// Requests that made servers amplify: readvar (RFC 9327) and monlist.
fn control(payload: &Payload<'_>, first: u8) -> Option<Identification> {
    let bytes = payload.bytes;
    let is_control = matches!(bytes, [0x16 | 0x1e, 0x01..=0x0c, 0, _, 0, 0, 0, 0, ..])
        && (12..=24).contains(&payload.wire_len);
    let is_monlist = matches!(bytes, [0x17, 0, 3, 0x2a | 0x14 | 0x00, ..])
        && bytes.iter().skip(4).all(|byte| *byte == 0)
        && payload.wire_len >= 8;
    if !is_control && !is_monlist {
        return None;
    }
    let mut details = Details::default();
    details.set("mode", if first & 7 == 6 { "control" } else { "private" });
    let reason = "a request to manage an NTP server, which scanners for amplifiers send";
    Some(Identification::consistent(Verdict::Ntp, reason).with(details))
}
