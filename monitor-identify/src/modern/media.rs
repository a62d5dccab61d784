//! Media: RTSP, RTP and RTCP.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, first_line},
};

/// RFC 7826 and RFC 2326.
pub(crate) fn rtsp(payload: &Payload<'_>) -> Option<Identification> {
    let line = first_line(payload.bytes);
    let mut details = Details::default();
    if let Some(status) = line.strip_prefix(b"RTSP/").filter(|status| status.len() > 6) {
        details.set_text("status", &status[4..]);
        let reason = "the status line of an RTSP response";
        return Some(Identification::confirmed(Verdict::Rtsp, reason).with(details));
    }
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let is_method =
        method.len() >= 4 && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    let (target, grade) = match rest.iter().rposition(|byte| *byte == b' ') {
        Some(at) if rest[at + 1..].starts_with(b"RTSP/") => (&rest[..at], Grade::Confirmed),
        // The capture ends in the target.
        None if rest.starts_with(b"rtsp://") => (rest, Grade::Consistent),
        _ => return None,
    };
    if !is_method {
        return None;
    }
    details.set_text("method", method);
    details.set_address("target", target);
    details.set_some_text("user_agent", field(payload.bytes, b"User-Agent:"));
    Some(Identification::new(Verdict::Rtsp, grade, "the request line of RTSP").with(details))
}

fn field<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

/// RTP Control Protocol, RFC 3550 §6: packets whose lengths add up to the payload, or, encrypted, a
/// report whose length is that of its blocks.
pub(crate) fn rtcp(payload: &Payload<'_>) -> Option<Identification> {
    plain_rtcp(payload).or_else(|| secure_rtcp(payload))
}

/// Secure RTCP, RFC 3711 §3.4: the first eight bytes are plain. Behind them are what is encrypted, a
/// tag, and an index whose uppermost bit says that it is; AEAD has the tag before the index, RFC 7714
/// §9.2, and everything else behind it.
fn secure_rtcp(payload: &Payload<'_>) -> Option<Identification> {
    const TAG: usize = 10;
    const SHORTEST_TRAILER: usize = 8;
    let bytes = payload.bytes;
    let mut reader = Reader::new(bytes);
    let [head, kind] = reader.array()?;
    let words = usize::from(reader.be16()?);
    let source = reader.be32()?;
    let fixed = match kind {
        200 => 6,
        201 => 1,
        _ => return None,
    };
    let is_report = head >> 5 == 0b100 && words == fixed + 6 * usize::from(head & 0x1f);
    let rest = payload.wire_len.checked_sub(4 + words * 4)?;
    if !is_report || rest < SHORTEST_TRAILER || source == 0 || !payload.may_be(Protocol::Udp) {
        return None;
    }
    let is_index = |at: Option<usize>| {
        let index = at.and_then(|at| bytes.get(at..)?.first_chunk::<4>());
        index.is_some_and(|index| index[..2] == [0x80, 0])
    };
    let end = payload.wire_len;
    let has_index = is_index(end.checked_sub(4)) || is_index(end.checked_sub(4 + TAG));
    let bits = 3 + 7 + 16 + if has_index { 15 } else { 0 };
    let reason =
        "a report of RTCP whose length is that of its blocks, and what is encrypted behind it";
    let found = Identification::graded(Verdict::Rtcp, bits, reason)?;
    let mut details = Details::default();
    details.set("first_packet", packet_name(kind));
    details.set("source", format!("0x{source:08x}"));
    details.set("encrypted", true);
    Some(found.with(details))
}

fn plain_rtcp(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let (mut count, mut first, mut source) = (0_u32, 0, 0);
    while !reader.is_empty() {
        let [head, kind] = reader.array()?;
        let words = usize::from(reader.be16()?);
        if head >> 6 != 2 || !matches!(kind, 192..=195 | 200..=209) {
            // Encryption and authentication add a trailer of their own.
            if count > 0 && matches!(reader.rest().len() + 4, 4..=18) {
                break;
            }
            return None;
        }
        if words < least_words(kind) {
            return None;
        }
        let body = reader.rest();
        if reader.take(words * 4).is_none() {
            let is_cut = payload.is_cut() && words * 4 <= body.len() + payload.missing();
            if !is_cut {
                return None;
            }
            reader = Reader::new(&[]);
        }
        if count == 0 {
            first = kind;
            source = Reader::new(body).be32().unwrap_or(0);
        }
        count += 1;
    }
    // RFC 3550 §6.1: a report comes first; RFC 5506 lets feedback and others come without one.
    let of_first = match first {
        200 | 201 => 6,
        202..=207 => 2,
        _ => return None,
    };
    let bits = 2 + of_first + 16 + count.checked_sub(1)? * 20;
    let reason = "packets of RTCP, whose types are assigned and whose lengths add up";
    let found = Identification::graded(Verdict::Rtcp, bits, reason)?;
    let mut details = Details::default();
    details.set("first_packet", packet_name(first));
    details.set("packets", count);
    details.set("source", format!("0x{source:08x}"));
    if let Some(name) = canonical_name(payload.bytes) {
        details.set_text("canonical_name", name);
    }
    Some(found.with(details))
}

/// The length of the shortest packet of a kind, in words behind the first.
const fn least_words(kind: u8) -> usize {
    match kind {
        200 => 6,
        201 | 207 => 1,
        204..=206 => 2,
        _ => 0,
    }
}

const fn packet_name(kind: u8) -> &'static str {
    match kind {
        200 => "sender report",
        201 => "receiver report",
        202 => "source description",
        203 => "goodbye",
        204 => "application",
        205 | 206 => "feedback",
        207 => "extended report",
        _ => "other",
    }
}

/// The first item of a source description: the name by which its source is known everywhere.
fn canonical_name(bytes: &[u8]) -> Option<&[u8]> {
    const DESCRIPTION: u8 = 202;
    let mut reader = Reader::new(bytes);
    loop {
        let [_, kind] = reader.array()?;
        let words = usize::from(reader.be16()?);
        let body = reader.take(words * 4)?;
        if kind == DESCRIPTION {
            let mut chunk = Reader::new(body);
            chunk.be32()?;
            return (chunk.u8()? == 1).then(|| chunk.block8())?;
        }
    }
}

/// Real-time Transport Protocol, RFC 3550 §5: twelve bytes, most of which may be anything. The size
/// of a frame of its codec is the rest of the evidence.
pub(crate) fn rtp(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 12;
    let mut reader = Reader::new(payload.bytes);
    let [head, kind] = reader.array()?;
    let _sequence_and_time: [u8; 6] = reader.array()?;
    let source = reader.be32()?;
    let media = payload.wire_len.checked_sub(HEADER_LEN)?;
    let (codec, is_frame) = match kind & 0x7f {
        0 => ("PCMU", matches!(media, 80 | 160 | 240 | 320)),
        3 => ("GSM", media > 0 && media.is_multiple_of(33)),
        4 => ("G723", media > 0 && media.is_multiple_of(4) && media <= 96),
        8 => ("PCMA", matches!(media, 80 | 160 | 240 | 320)),
        9 => ("G722", matches!(media, 80 | 160 | 240 | 320)),
        18 => ("G729", media > 0 && media.is_multiple_of(10) && media <= 100),
        13 => ("comfort noise", matches!(media, 1..=12)),
        33 => ("MPEG transport stream", media > 0 && media.is_multiple_of(188)),
        // Frames of these are of any size.
        10 | 11 | 14 | 25 | 26 | 28 | 31 | 32 | 34 | 96..=127 => {
            return dynamic_rtp(payload, head, kind);
        }
        _ => return None,
    };
    let is_transport_stream = kind & 0x7f == 33 && payload.bytes.get(HEADER_LEN) == Some(&0x47);
    // Version 2, neither padding, extension nor contributing sources.
    if head != 0x80 || !is_frame || source == 0 || !payload.may_be(Protocol::Udp) {
        return None;
    }
    let of_stream = if is_transport_stream { 15 } else { 0 };
    let reason = "the header of RTP with the codec that its frame has the size of";
    let found = Identification::graded(Verdict::Rtp, 8 + 7 + of_stream, reason)?;
    let mut details = Details::default();
    details.set("codec", codec);
    details.set("source", format!("0x{source:08x}"));
    details.set("marker", kind & 0x80 != 0);
    Some(found.with(details))
}

/// RTP of a type that its session assigns: what little there is to see is that both ports are even,
/// RFC 3550 §11, or that its extension is one of RFC 8285.
fn dynamic_rtp(payload: &Payload<'_>, head: u8, kind: u8) -> Option<Identification> {
    const EXTENSION: u8 = 0x10;
    let is_even = |port: Option<u16>| port.is_some_and(|port| port >= 1024 && port % 2 == 0);
    let header: &[u8; 12] = payload.bytes.first_chunk()?;
    let source = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if head & !EXTENSION != 0x80 || source == 0 || payload.wire_len < 24 {
        return None;
    }
    let of_extension = if head & EXTENSION == 0 {
        0
    } else {
        let [profile @ .., high, low] = payload.bytes.get(12..16)?.first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([*high, *low]));
        let is_known = *profile == [0xbe, 0xde] || *profile == [0x10, 0x00];
        if !is_known || 16 + words * 4 > payload.wire_len {
            return None;
        }
        24
    };
    let of_ports =
        if is_even(payload.source_port) && is_even(payload.destination_port) { 4 } else { 0 };
    let reason = "the header of RTP, with a type that its session assigns";
    let found = Identification::graded(Verdict::Rtp, 8 + 2 + of_ports + of_extension, reason)?;
    let mut details = Details::default();
    details.set("payload_type", kind & 0x7f);
    details.set("source", format!("0x{source:08x}"));
    details.set("marker", kind & 0x80 != 0);
    Some(found.with(details))
}

/// Media Gateway Control Protocol, RFC 3435 §3.2: a verb, a number, an endpoint and the version.
pub(crate) fn mgcp(payload: &Payload<'_>) -> Option<Identification> {
    const VERBS: [&[u8]; 9] =
        [b"EPCF", b"CRCX", b"MDCX", b"DLCX", b"RQNT", b"NTFY", b"AUEP", b"AUCX", b"RSIP"];
    let line = first_line(payload.bytes);
    let mut words = line.split(|byte| *byte == b' ');
    let (verb, number, endpoint) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let is_number = matches!(number.len(), 1..=9) && number.iter().all(u8::is_ascii_digit);
    let is_port = payload.has_port(2427) || payload.has_port(2727);
    if is_port && is_number && verb.len() == 3 && verb.iter().all(u8::is_ascii_digit) {
        let mut details = Details::default();
        details.set_text("status", verb);
        let reason = "a code and a number, on a port of MGCP";
        return Some(Identification::consistent(Verdict::Mgcp, reason).with(details));
    }
    if !VERBS.contains(&verb) || !is_number || !contains(line, b" MGCP ") {
        return None;
    }
    let mut details = Details::default();
    details.set_text("verb", verb);
    details.set_text("endpoint", endpoint);
    let reason = "the command line of MGCP: a verb, a number, an endpoint and the version";
    Some(Identification::confirmed(Verdict::Mgcp, reason).with(details))
}
