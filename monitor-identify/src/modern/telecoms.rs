//! Networks of operators: SMPP, GTP, Diameter and BGP.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, is_printable},
};

/// Short Message Peer-to-Peer, §3.2 of its version 3.4: length, command, status and number.
pub(crate) fn smpp(payload: &Payload<'_>) -> Option<Identification> {
    const RESPONSE: u32 = 0x8000_0000;
    let mut reader = Reader::new(payload.bytes);
    let [len, command, status, sequence] =
        [reader.be32()?, reader.be32()?, reader.be32()?, reader.be32()?];
    let name = match command & !RESPONSE {
        0 if command == RESPONSE => "negative acknowledgement",
        1 => "bind receiver",
        2 => "bind transmitter",
        3 => "query",
        4 => "submit",
        5 => "deliver",
        6 => "unbind",
        7 => "replace",
        8 => "cancel",
        9 => "bind transceiver",
        11 => "outbind",
        21 => "enquire link",
        33 => "submit to many",
        _ => return None,
    };
    let is_response = command & RESPONSE != 0;
    let len = len as usize;
    if len < 16 || len > payload.wire_len || (!is_response && status != 0) || status > 0x4ff {
        return None;
    }
    let of_size = if len == payload.wire_len { 14 } else { 0 };
    let of_status = if status == 0 { 32 } else { 20 };
    let of_sequence = if sequence < 1 << 16 { 8 } else { 0 };
    let bits = 16 + of_size + of_status + of_sequence - 16;
    let reason = "a message of SMPP: length, command, status and number";
    let found = Identification::graded(Verdict::Smpp, bits, reason)?;
    let mut details = Details::default();
    details.set("command", name);
    details.set("response", is_response);
    if matches!(command, 1 | 2 | 9 | 11) {
        let system = reader.text_to_nul().filter(|system| is_printable(system));
        details.set_some_text("system_id", system);
        // A password is not put down.
        let _password = reader.text_to_nul();
        details.set_some_text("system_type", reader.text_to_nul());
    }
    Some(found.with(details))
}

/// GPRS Tunnelling Protocol, 3GPP TS 29.281, 29.060 and 29.274 §5.
pub(crate) fn gtp(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [flags, kind] = reader.array()?;
    let len = usize::from(reader.be16()?);
    let home = [2123, 2152, 3386].into_iter().any(|port| payload.has_port(port));
    let of_port = if home { 8 } else { 0 };
    let (version, name, header) = match (flags >> 5, flags & 0x10 != 0) {
        (1, true) if flags & 0x08 == 0 => (1, gtp1_name(kind)?, 8),
        // Charging, in its own numbers.
        (1, false) if matches!(flags & 0x0e, 0 | 0x0e) => (1, "charging", 6),
        (2, _) if flags & 0x07 == 0 => (2, gtp2_name(kind)?, 4),
        (0, true) if flags & 0x0e == 0x0e => (0, gtp1_name(kind)?, 20),
        _ => return None,
    };
    if len + header != payload.wire_len || (version == 1 && header == 6 && !home) {
        return None;
    }
    let tunnel = reader.be32()?;
    // An echo is not about a tunnel; user data has a packet of IP inside.
    const ECHO: u8 = 1;
    const USER_DATA: u8 = 255;
    let of_content = match (version, kind) {
        (1, ECHO | 2) if tunnel == 0 => 24,
        (1, USER_DATA) => {
            let optional = if flags & 0x07 != 0 { 4 } else { 0 };
            let inner = payload.bytes.get(8 + optional).map(|byte| byte >> 4);
            if matches!(inner, Some(4 | 6)) { 6 } else { 0 }
        }
        (1, _) if tunnel == 0 => 24,
        (2, ECHO | 2) if flags & 0x08 == 0 => 6,
        (2, _) if flags & 0x08 != 0 => 2,
        _ => 0,
    };
    let bits = 5 + 3 + 16 + of_content + of_port;
    let reason = "a message of GTP: version, type and length";
    let found = Identification::graded(Verdict::Gtp, bits, reason)?;
    let mut details = Details::default();
    details.set("version", version);
    details.set("message", name);
    if (version, kind) == (1, USER_DATA) {
        details.set("tunnel", format!("0x{tunnel:08x}"));
    }
    Some(found.with(details))
}

const fn gtp1_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "echo request",
        2 => "echo response",
        3 => "version not supported",
        4..=7 => "node",
        16 => "create context request",
        17 => "create context response",
        18 => "update context request",
        19 => "update context response",
        20 => "delete context request",
        21 => "delete context response",
        26 => "error indication",
        27..=30 => "notification",
        31 => "supported extensions",
        32..=37 => "routing",
        48..=60 => "mobility",
        254 => "end marker",
        255 => "user data",
        _ => return None,
    })
}

const fn gtp2_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "echo request",
        2 => "echo response",
        3 => "version not supported",
        32 => "create session request",
        33 => "create session response",
        34 => "modify bearer request",
        35 => "modify bearer response",
        36 => "delete session request",
        37 => "delete session response",
        38..=73 | 95..=104 => "bearers",
        128..=200 => "mobility",
        _ => return None,
    })
}

/// Diameter, RFC 6733 §3: version, length, flags, command, and attributes.
pub(crate) fn diameter(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let version = reader.u8()?;
    let len = reader.be24()? as usize;
    let flags = reader.u8()?;
    let command = reader.be24()?;
    let application = reader.be32()?;
    let _hop_and_end: [u8; 8] = reader.array()?;
    if version != 1 || flags & 0x0f != 0 || len < 20 || len > payload.wire_len.max(1 << 12) {
        return None;
    }
    let name = match command {
        257 => "capabilities exchange",
        258 => "re-authentication",
        265 => "authentication and authorization",
        271 => "accounting",
        272 => "credit control",
        274 => "abort session",
        275 => "session termination",
        280 => "device watchdog",
        282 => "disconnect peer",
        300..=325 | 8_388_620..=8_388_740 => "3GPP",
        268 => "EAP",
        _ => return None,
    };
    let of_size = if len == payload.wire_len { 16 } else { 0 };
    let of_application = if application < 1 << 24 { 6 } else { 0 };
    let bits = 8 + 4 + 18 + of_size + of_application;
    let reason = "a message of Diameter: version, length, flags and command";
    let found = Identification::graded(Verdict::Diameter, bits, reason)?;
    let mut details = Details::default();
    details.set("command", name);
    details.set("request", flags & 0x80 != 0);
    details.set("application", application);
    describe_attributes(&mut reader, &mut details);
    Some(found.with(details))
}

fn describe_attributes(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    const ORIGIN_HOST: u32 = 264;
    const ORIGIN_REALM: u32 = 296;
    const PRODUCT: u32 = 269;
    for _ in 0..32 {
        let code = reader.be32()?;
        let flags = reader.u8()?;
        let len = reader.be24()? as usize;
        let header = if flags & 0x80 != 0 { 12 } else { 8 };
        if header == 12 {
            reader.be32()?;
        }
        let value_len = len.checked_sub(header)?;
        let value = reader.take(value_len)?;
        reader.take(len.next_multiple_of(4) - len);
        match code {
            ORIGIN_HOST => details.set_some_text("host", Some(value)),
            ORIGIN_REALM => details.set_some_text("realm", Some(value)),
            PRODUCT => details.set_some_text("product", Some(value)),
            _ => {}
        }
    }
    Some(())
}

/// Border Gateway Protocol, RFC 4271 §4: sixteen bytes of ones, length and type.
pub(crate) fn bgp(payload: &Payload<'_>) -> Option<Identification> {
    const MARKER: [u8; 16] = [0xff; 16];
    let mut reader = Reader::new(payload.bytes.strip_prefix(&MARKER)?);
    let len = reader.be16()?;
    let kind = reader.u8()?;
    let names = ["", "OPEN", "UPDATE", "NOTIFICATION", "KEEPALIVE", "ROUTE-REFRESH"];
    let name = names.get(usize::from(kind)).filter(|name| !name.is_empty())?;
    if !(19..=4096).contains(&len) {
        return None;
    }
    let mut details = Details::default();
    details.set("message", *name);
    if kind == 1
        && let Some(version) = reader.u8()
    {
        details.set("version", version);
        details.set_known("autonomous_system", reader.be16());
        details.set_known("hold_time_seconds", reader.be16());
        let identifier = reader.array::<4>().map(|id| std::net::Ipv4Addr::from(id).to_string());
        details.set_known("identifier", identifier);
    }
    let reason = "the marker of BGP, a length and a type";
    Some(Identification::confirmed(Verdict::Bgp, reason).with(details))
}

/// RADIUS, RFC 2865 §3: code, length, authenticator, and attributes to the end.
pub(crate) fn radius(payload: &Payload<'_>) -> Option<Identification> {
    const AUTHENTICATOR_LEN: usize = 16;
    let mut reader = Reader::new(payload.bytes);
    let code = reader.u8()?;
    let _id = reader.u8()?;
    let len = usize::from(reader.be16()?);
    let name = match code {
        1 => "access request",
        2 => "access accept",
        3 => "access reject",
        4 => "accounting request",
        5 => "accounting response",
        11 => "access challenge",
        12 => "status server",
        13 => "status client",
        40 => "disconnect request",
        41 => "disconnect acknowledgement",
        42 => "disconnect refusal",
        43 => "change of authorization request",
        44 => "change of authorization acknowledgement",
        45 => "change of authorization refusal",
        _ => return None,
    };
    reader.take(AUTHENTICATOR_LEN)?;
    if len > payload.wire_len || !(20..=4096).contains(&len) || len + 16 < payload.wire_len {
        return None;
    }
    let of_size = if len == payload.wire_len { 16 } else { 12 };
    let is_home =
        [1645, 1646, 1700, 1812, 1813, 3799].into_iter().any(|port| payload.has_port(port));
    // On its own port, an attribute with a wrong length is of RADIUS as well.
    let attributes = attributes(reader, len - 20, payload.is_cut()).or(is_home.then_some(1))?;
    let bits = 4 + of_size + attributes * 6;
    let reason = "a packet of RADIUS: code, length, and attributes that are read to the end";
    let found = Identification::graded(Verdict::Radius, bits, reason)?;
    let mut details = Details::default();
    details.set("packet", name);
    describe_radius(reader, &mut details);
    Some(found.with(details))
}

/// How many attributes fill `len` bytes; `None` if they do not.
fn attributes(mut reader: Reader<'_>, len: usize, is_cut: bool) -> Option<u32> {
    let mut left = len;
    let mut count = 0;
    while left > 0 {
        let Some(kind) = reader.u8() else { return is_cut.then_some(count) };
        let Some(size) = reader.u8().map(usize::from) else { return is_cut.then_some(count) };
        if kind == 0 || size < 2 || size > left {
            return None;
        }
        if reader.take(size - 2).is_none() {
            return is_cut.then_some(count);
        }
        left -= size;
        count += 1;
    }
    Some(count)
}

fn describe_radius(mut reader: Reader<'_>, details: &mut Details) -> Option<()> {
    for _ in 0..64 {
        let kind = reader.u8()?;
        let len = usize::from(reader.u8()?);
        let value = reader.take(len.checked_sub(2)?)?;
        match (kind, value) {
            (1, _) => details.set_some_text("user", Some(value)),
            (4, [a, b, c, d]) => {
                details.set("nas_address", std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string());
            }
            (32, _) => details.set_some_text("nas", Some(value)),
            _ => {}
        }
    }
    Some(())
}

/// TACACS+, RFC 8907 §4.1: version, type, sequence, flags, session and length.
pub(crate) fn tacacs(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [0xc0 | 0xc1, kind @ 1..=3, sequence @ 1..=255, flags] = reader.array()? else {
        return None;
    };
    let _session = reader.be32()?;
    let len = reader.be32()? as usize;
    if flags & !0x05 != 0 || len + 12 != payload.wire_len || len < 5 {
        return None;
    }
    let of_sequence = if sequence <= 2 { 6 } else { 0 };
    let reason = "a packet of TACACS+: version, type, flags and length";
    let found = Identification::graded(Verdict::Tacacs, 7 + 6 + 6 + 14 + of_sequence, reason)?;
    let mut details = Details::default();
    let kinds = ["authentication", "authorization", "accounting"];
    details.set("type", kinds[usize::from(kind) - 1]);
    details.set("encrypted", flags & 1 == 0);
    Some(found.with(details))
}
