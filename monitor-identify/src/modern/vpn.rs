//! Virtual private networks: WireGuard, OpenVPN, IKE and PPTP.

use monitor_common::flow::Protocol;

use crate::{Grade, Identification, Payload, Verdict, details::Details, reader::Reader};

/// WireGuard's messages, §5.4 of its paper: their sizes are fixed, or a multiple of 16.
pub(crate) fn wireguard(payload: &Payload<'_>) -> Option<Identification> {
    let [kind @ 1..=4, 0, 0, 0, ..] = *payload.bytes else { return None };
    let (name, len) = match kind {
        1 => ("handshake initiation", 148),
        2 => ("handshake response", 92),
        3 => ("cookie reply", 64),
        _ => return transport_data(payload),
    };
    if payload.wire_len != len {
        return None;
    }
    // An initiation ends with 16 bytes that are zero unless the server is under load.
    let has_cookie = payload.bytes.len() == len && payload.bytes.ends_with(&[0; 16]);
    // The second word of the others is a random index: text or small numbers are another protocol.
    if looks_like_dns(payload.bytes) {
        return None;
    }
    let grade = if kind < 3 && has_cookie { Grade::Confirmed } else { Grade::Consistent };
    let mut details = Details::default();
    details.set("message", name);
    let reason = "the type and the size of a WireGuard message";
    Some(Identification::new(Verdict::Wireguard, grade, reason).with(details))
}

/// Whether the bytes go on as the header of a DNS query: one question, and few other records.
const fn looks_like_dns(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, 0, 0..=2, 0, _, 0, _, 0, 0..=4, ..])
}

/// An index, a counter that begins at zero, and a ciphertext of a multiple of 16 bytes.
fn transport_data(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 16;
    let mut reader = Reader::new(payload.bytes);
    reader.le32()?;
    let index = reader.le32()?;
    let low = reader.le32()?;
    let high = reader.le32()?;
    let data = payload.wire_len.checked_sub(HEADER_LEN)?;
    if high != 0 || index == 0 || data < 16 || !data.is_multiple_of(16) {
        return None;
    }
    let of_counter = if low < 1 << 16 { 16 } else { 0 };
    let reason = "transport data of WireGuard: its type, a counter, and a size that is padded";
    let found = Identification::graded(Verdict::Wireguard, 32 + of_counter - 8, reason)?;
    let mut details = Details::default();
    details.set("message", if data == 16 { "keep-alive" } else { "transport data" });
    details.set("counter", low);
    Some(found.with(details))
}

/// The first messages of OpenVPN, behind a length on TCP.
pub(crate) fn openvpn(payload: &Payload<'_>) -> Option<Identification> {
    if payload.may_be(Protocol::Udp)
        && let Some(found) = openvpn_packet(payload.bytes, payload.wire_len)
    {
        return Some(found);
    }
    let (len, rest) = payload.bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let is_framed = payload.may_be(Protocol::Tcp) && len + 2 == payload.wire_len;
    if is_framed { openvpn_packet(rest, len) } else { None }
}

fn openvpn_packet(bytes: &[u8], wire_len: usize) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    let message = match reader.u8()? {
        0x38 => "client's hard reset",
        0x40 => "server's hard reset",
        0x50 => "client's hard reset with tls-crypt-v2",
        CONTROL => "control",
        ACKNOWLEDGEMENT => "acknowledgement",
        _ => return None,
    };
    let session = reader.take(SESSION_LEN)?;
    if session.iter().all(|byte| *byte == 0) {
        return None;
    }
    let rest = reader.rest();
    let is_plain = |rest: &[u8]| is_plain_openvpn(bytes[0], rest);
    // Packet number, small, and a time of this century.
    let is_replay_id = |rest: &[u8]| matches!(rest, [0, 0, 0, 1..=255, 0x38..=0xff, ..]);
    let signed = [16, 20, 32, 64].into_iter().find(|hmac| {
        rest.get(*hmac..)
            .is_some_and(|rest| is_replay_id(rest) && rest.get(8..).is_some_and(is_plain))
    });
    let is_first = !matches!(bytes[0], CONTROL | ACKNOWLEDGEMENT);
    // Resets with a key of the client's own are numbered from elsewhere in some versions.
    let is_number = matches!(rest, [0, 0, 0, 1, time, ..] | [0x0a | 0x0f, 0 | 1, 0, 1, time, ..]
        if *time >= 0x38);
    let is_encrypted = is_first && is_number && wire_len >= 54;
    let (protection, bits) = match signed {
        _ if is_plain(rest) && wire_len == bytes.len() => ("none", 48),
        Some(_) => ("tls-auth", if is_first { 64 } else { 40 }),
        None if is_encrypted && wire_len == 54 => ("tls-crypt", 48),
        None if is_encrypted => ("tls-crypt", 32),
        None => return None,
    };
    let reason = if is_first {
        "a hard reset, with which OpenVPN begins: session, packet number and size"
    } else {
        "a control packet of OpenVPN: sessions, numbers of packets and what they acknowledge"
    };
    let found = Identification::graded(Verdict::Openvpn, bits, reason)?;
    let mut details = Details::default();
    details.set("message", message);
    details.set("protection", protection);
    Some(found.with(details))
}

/// Opcodes of OpenVPN behind the resets, with key 0.
const CONTROL: u8 = 0x20;
const ACKNOWLEDGEMENT: u8 = 0x28;

/// Bytes of a session's number.
const SESSION_LEN: usize = 8;

/// In plain text: the numbers of packets that are acknowledged, with the peer's session behind them,
/// then the number of this packet.
fn is_plain_openvpn(opcode: u8, rest: &[u8]) -> bool {
    let mut reader = Reader::new(rest);
    let Some(count @ 0..=8) = reader.u8() else { return false };
    for _ in 0..count {
        if reader.be32().is_none_or(|packet| packet > 4096) {
            return false;
        }
    }
    let is_no_session = |session: &[u8]| session.iter().all(|byte| *byte == 0);
    if count > 0 && reader.take(SESSION_LEN).is_none_or(is_no_session) {
        return false;
    }
    match opcode {
        ACKNOWLEDGEMENT => count > 0 && reader.is_empty(),
        // A record of TLS, or a part of one.
        CONTROL => {
            let packet = reader.be32();
            let is_number = packet.is_some_and(|packet| (1..=4096).contains(&packet));
            let is_record = matches!(reader.rest(), [20..=23, 3, 0..=4, ..]);
            is_number && !reader.is_empty() && (count > 0 || is_record)
        }
        // A reset is packet 0, and nothing follows it.
        _ => count <= 1 && reader.be32() == Some(0) && reader.is_empty(),
    }
}

/// Internet Key Exchange, RFC 2408 §3.1 and RFC 7296 §3.1, on port 4500 behind four zero bytes.
pub(crate) fn ike(payload: &Payload<'_>) -> Option<Identification> {
    const MARKER: [u8; 4] = [0; 4];
    let (bytes, len) = match payload.bytes.strip_prefix(&MARKER) {
        Some(rest) => (rest, payload.wire_len - MARKER.len()),
        None => (payload.bytes, payload.wire_len),
    };
    let mut reader = Reader::new(bytes);
    let (initiator, responder) = (reader.be64()?, reader.be64()?);
    let [next, version, exchange, flags] = reader.array()?;
    let message = reader.be32()?;
    let total = reader.be32()? as usize;
    let exchange_name = match (version, exchange) {
        (0x10, 1) => "base",
        (0x10, 2) => "main mode",
        (0x10, 3) => "authentication only",
        (0x10, 4) => "aggressive mode",
        (0x10, 5) => "informational",
        (0x10, 32) => "quick mode",
        (0x10, 33) => "new group mode",
        (0x20, 34) => "IKE_SA_INIT",
        (0x20, 35) => "IKE_AUTH",
        (0x20, 36) => "CREATE_CHILD_SA",
        (0x20, 37) => "INFORMATIONAL",
        (0x20, 43) => "IKE_INTERMEDIATE",
        _ => return None,
    };
    let is_next =
        if version == 0x10 { next <= 20 || next == 130 } else { matches!(next, 0 | 33..=54) };
    let is_flags = if version == 0x10 { flags & !7 == 0 } else { flags & !0x38 == 0 };
    if initiator == 0 || !is_next || !is_flags || total < 28 {
        return None;
    }
    let of_size = if total == len { 24 } else { 0 };
    let of_message = if message <= 16 { 16 } else { 0 };
    let of_responder = if responder == 0 { 32 } else { 0 };
    if of_size == 0 && (of_message == 0 || total < len) {
        return None;
    }
    let bits = 8 + 5 + 3 + 4 + of_size + of_message + of_responder;
    let reason = "the header of IKE: version, exchange, flags and size";
    let found = Identification::graded(Verdict::Ike, bits, reason)?;
    let mut details = Details::default();
    details.set("version", if version == 0x10 { "1" } else { "2" });
    details.set("exchange", exchange_name);
    details.set("response", responder != 0);
    Some(found.with(details))
}

/// Point-to-Point Tunneling Protocol, RFC 2637 §2: length, type, magic cookie.
pub(crate) fn pptp(payload: &Payload<'_>) -> Option<Identification> {
    const COOKIE: u32 = 0x1a2b_3c4d;
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be16()?;
    let kind = reader.be16()?;
    if reader.be32()? != COOKIE || !matches!(kind, 1 | 2) || len < 12 {
        return None;
    }
    let message = reader.be16()?;
    let name = match message {
        1 => "start control connection request",
        2 => "start control connection reply",
        3 => "stop control connection request",
        4 => "stop control connection reply",
        5 => "echo request",
        6 => "echo reply",
        7 => "outgoing call request",
        8 => "outgoing call reply",
        9 => "incoming call request",
        12 => "call clear request",
        13 => "call disconnect notify",
        15 => "set link info",
        _ => "other",
    };
    let mut details = Details::default();
    details.set("message", name);
    if matches!(message, 1 | 2) {
        // Versions, capabilities and numbers, then names of fixed sizes.
        let host = reader.take(18).and_then(|_| reader.take(64));
        details.set_some_text("host", host.and_then(to_nul));
        details.set_some_text("vendor", reader.take(64).and_then(to_nul));
    }
    let reason = "the magic cookie of PPTP";
    Some(Identification::confirmed(Verdict::Pptp, reason).with(details))
}

fn to_nul(text: &[u8]) -> Option<&[u8]> {
    text.split(|byte| *byte == 0).next()
}
