//! Domain Name System, RFC 1035 §4, on UDP and, behind a length, on TCP.

use monitor_common::flow::Protocol;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::Reader,
};

const HEADER_LEN: usize = 12;
/// A name has at most 255 bytes.
const MAX_LABELS: usize = 128;
/// Bytes of the smallest record: the name of the root, type, class, time to live and a length.
const SMALLEST_RECORD: usize = 11;
const DNS: u16 = 53;
/// Multicast DNS, RFC 6762.
const MDNS: u16 = 5353;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = payload.bytes;
    if payload.may_be(Protocol::Udp)
        && let Some(message) = message(payload, bytes, payload.wire_len)
    {
        return Some(message);
    }
    if payload.may_be(Protocol::Tcp) {
        let (len, rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes(*len));
        // A long answer goes on in further segments, and several share one.
        if len + 2 == payload.wire_len || (len >= HEADER_LEN + 5 && len + 2 > payload.wire_len) {
            return message(payload, rest, len);
        }
    }
    None
}

/// The fields of a header.
struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities and additional records.
    counts: [u16; 4],
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id: reader.be16()?,
            flags: reader.be16()?,
            counts: [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?],
        })
    }

    const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Whether the bit that must be zero is, the opcode is assigned, and the counts are plausible.
    fn is_plausible(&self, is_strict: bool) -> bool {
        let [questions, answers, authorities, additional] = self.counts;
        let is_header = self.flags & 0x0040 == 0 && matches!(self.flags >> 11 & 15, 0..=2 | 4..=6)
            || (!is_strict && self.flags & 0x0070 == 0);
        // Multicast queries have what they know already as answers.
        let most = if self.is_response() || self.id == 0 { 256 } else { 4 };
        let is_update = self.flags >> 11 & 15 == 5;
        let is_inverse = self.flags >> 11 & 15 == 1;
        is_header
            && questions <= if self.id == 0 { 256 } else { 32 }
            && answers <= most
            && (authorities <= most || is_update)
            && additional <= most
            && (questions > 0 || ((self.is_response() || is_inverse) && answers > 0))
    }

    fn records(&self) -> usize {
        self.counts[1..].iter().map(|count| usize::from(*count)).sum()
    }
}

fn message(payload: &Payload<'_>, bytes: &[u8], wire_len: usize) -> Option<Identification> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    // On its own port, what breaks the rules is of DNS as well.
    let is_strict = !payload.has_port(DNS);
    if !header.is_plausible(is_strict) {
        return status(bytes, &header);
    }
    let is_cut = bytes.len() < wire_len;
    let first = reader;
    let mut kinds = None;
    for _ in 0..header.counts[0] {
        let question = question(&mut reader, is_strict);
        // Later ones may point back, or not have been captured.
        if kinds.is_none() {
            kinds = Some(question?);
        } else if question.is_none() {
            if is_cut {
                break;
            }
            return None;
        }
    }
    let (kind, class) = match kinds {
        Some(kinds) => kinds,
        None => record(&mut reader, is_strict)?,
    };
    let records = header.records() - usize::from(header.counts[0] == 0);
    let read = bytes.len() - reader.rest().len();
    let end = read + SMALLEST_RECORD * records;
    let is_end = if records == 0 { end == wire_len } else { end <= wire_len };
    if !is_end && (!is_cut || read > wire_len) {
        return None;
    }
    let mut details = Details::default();
    let name = name_text(first)?;
    let is_local = name.len() > 6 && name[name.len() - 6..].eq_ignore_ascii_case(b".local");
    let is_multicast = payload.has_port(MDNS) && is_local;
    let asks_version = class == 3 && name.eq_ignore_ascii_case(b"version.bind");
    details.set("name", shown(&name));
    details.set("type", type_name(kind));
    details.set("response", header.is_response());
    if header.counts[0] > 1 {
        details.set("questions", header.counts[0]);
    }
    if header.is_response() {
        details.set("answers", header.counts[1]);
    }
    if asks_version {
        details.set("note", "asks for the server's version, as scanners do");
    }
    let (verdict, reason) = if is_multicast {
        (Verdict::Mdns, "a DNS message on the port of multicast DNS, about a local name")
    } else {
        let reason = "a DNS message: flags, counts, and a question that can be read to its end";
        (Verdict::Dns, reason)
    };
    Some(Identification::confirmed(verdict, reason).with(details))
}

/// Reads a question and returns its type and class.
fn question(reader: &mut Reader<'_>, is_strict: bool) -> Option<(u16, u16)> {
    skip_name(reader, is_strict)?;
    let (kind, class) = (reader.be16()?, reader.be16()?);
    (is_class(class) && (is_type(kind) || !is_strict)).then_some((kind, class))
}

/// Reads a record and returns its type and class.
fn record(reader: &mut Reader<'_>, is_strict: bool) -> Option<(u16, u16)> {
    let kinds = question(reader, is_strict)?;
    let _time_to_live = reader.be32()?;
    reader.block16()?;
    Some(kinds)
}

const fn is_class(class: u16) -> bool {
    // The highest bit asks for a unicast answer, or says that others are to be forgotten.
    matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255)
}

/// A request for a server's status has no question; Nmap sends it.
fn status(bytes: &[u8], header: &Header) -> Option<Identification> {
    const STATUS: u16 = 0x1000;
    let is_status = header.flags & 0x7fff & !0x000f == STATUS && header.counts == [0; 4];
    (is_status && bytes.len() == HEADER_LEN).then(|| {
        Identification::consistent(Verdict::Dns, "the header of a DNS status request, and no more")
    })
}

/// Skips a name, whose labels are text: ASCII, or UTF-8 in names of services.
fn skip_name(reader: &mut Reader<'_>, is_strict: bool) -> Option<()> {
    for _ in 0..MAX_LABELS {
        match reader.u8()? {
            0 => return Some(()),
            len @ 1..=63 => {
                let label = reader.take(len.into())?;
                let is_ascii = label.iter().all(|byte| (0x20..0x7f).contains(byte));
                if is_strict && !is_ascii && !is_utf8_text(label) {
                    return None;
                }
            }
            // A pointer to what went before.
            0xc0..=0xff => return reader.u8().map(|_| ()),
            _ => return None,
        }
    }
    None
}

fn is_utf8_text(label: &[u8]) -> bool {
    str::from_utf8(label).is_ok_and(|text| text.chars().all(|character| !character.is_control()))
}

/// The name, with a dot between labels.
fn name_text(mut reader: Reader<'_>) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(64);
    while let Some(len @ 1..=63) = reader.u8() {
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(reader.take(len.into())?);
    }
    Some(if name.is_empty() { b".".to_vec() } else { name })
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
