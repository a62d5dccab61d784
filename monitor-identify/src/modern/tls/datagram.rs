//! DTLS, RFC 9147 and RFC 6347, and as OpenSSL had it before.

use super::{
    hello::{CLIENT_HELLO, Flavour, Hello, SERVER_HELLO, version_name},
    record::{self, ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, HEARTBEAT},
};
use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

const HEADER_LEN: usize = 13;

/// The header of a record.
struct Header {
    kind: u8,
    version: [u8; 2],
    epoch: u16,
    len: usize,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [kind, major, minor] = reader.array()?;
        let epoch = reader.be16()?;
        let _sequence: [u8; 6] = reader.array()?;
        let len = usize::from(reader.be16()?);
        let is_version = matches!((major, minor), (0xfe, 0xff | 0xfd | 0xfc) | (1, 0));
        let is_kind = matches!(kind, CHANGE_CIPHER_SPEC..=HEARTBEAT | 25);
        (is_version && is_kind && len > 0).then_some(Self {
            kind,
            version: [major, minor],
            epoch,
            len,
        })
    }
}

pub(crate) fn dtls(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let header = Header::read(&mut reader)?;
    if header.len > payload.wire_len.saturating_sub(HEADER_LEN) {
        return None;
    }
    if header.epoch == 0
        && let Some(found) = plain(&header, &mut reader)
    {
        return Some(found);
    }
    records(payload)
}

/// A record that is not encrypted.
fn plain(header: &Header, reader: &mut Reader<'_>) -> Option<Identification> {
    if header.kind == ALERT {
        let is_alert = matches!((header.len, reader.rest()), (2, [1 | 2, ..]));
        return is_alert.then(|| Identification::confirmed(Verdict::Dtls, "a DTLS alert"));
    }
    if header.kind != HANDSHAKE {
        return None;
    }
    let message = reader.u8()?;
    // Length, sequence number, and where the fragment lies.
    let _header: [u8; 11] = reader.array()?;
    let mut hello = Hello::new();
    let reason = match message {
        CLIENT_HELLO => {
            hello.client(reader, Flavour::Datagram)?;
            "a DTLS record with a ClientHello, field by field"
        }
        SERVER_HELLO => {
            hello.server(reader)?;
            "a DTLS record with a ServerHello, field by field"
        }
        3 => "a DTLS record with a HelloVerifyRequest",
        _ => return None,
    };
    let [major, minor] = header.version;
    hello.details.set("record_version", version_name(major, minor));
    Some(Identification::confirmed(Verdict::Dtls, reason).with(hello.details))
}

/// Records that fill the datagram.
fn records(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let (mut count, mut first) = (0_u32, None);
    while !reader.is_empty() {
        let Some(header) = Header::read(&mut reader) else {
            // A datagram that was cut, in the middle of a later header.
            if payload.is_cut() && count > 0 && reader.rest().len() < HEADER_LEN {
                break;
            }
            return None;
        };
        let [major, minor] = header.version;
        let (_, version) = *first.get_or_insert((header.kind, header.version));
        if version != [major, minor] {
            return None;
        }
        count += 1;
        if reader.take(header.len).is_none() {
            if header.len > reader.rest().len() + payload.missing() {
                return None;
            }
            break;
        }
    }
    let (kind, [major, minor]) = first?;
    let of_version = if major == 0xfe { 14 } else { 15 };
    let bits = 5 + of_version + (count - 1) * 20 + if payload.is_cut() { 4 } else { 14 };
    let reason = "records of DTLS in the middle of a connection, whose lengths fill the datagram";
    let found = Identification::graded(Verdict::Dtls, bits, reason)?;
    let mut details = Details::default();
    details.set("record", record::name(kind));
    details.set("record_version", version_name(major, minor));
    details.set("records", count);
    Some(found.with(details))
}
