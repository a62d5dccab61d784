//! The other PDUs of WSP, WAP-230-WSP §8.2: the same behind a transaction id of their own and
//! inside WTP.

use super::{
    agreement::{Agreement, agreement},
    content_type::{ContentType, Kind},
    header::Headers,
    mms,
    push::{CONFIRMED_PUSH, PUSH, Push},
};
use crate::{
    details::Details,
    evidence::Evidence,
    reader::{Reader, is_printable},
};

/// A PDU of the session layer, and how much speaks for it.
#[derive(Default)]
pub(super) struct Pdu<'a> {
    name: &'static str,
    pub(super) evidence: Evidence,
    /// It ends where its sizes say.
    pub(super) is_whole: bool,
    /// No header follows, so that a single size says where it ends.
    pub(super) ends_by_size: bool,
    session_id: Option<u64>,
    /// How many capabilities are negotiated.
    capabilities: Option<u32>,
    /// A status of HTTP.
    status: Option<u16>,
    uri: Option<&'a [u8]>,
    content_type: Option<ContentType<'a>>,
    headers: Headers<'a>,
    /// A multimedia message that a gateway was asked for.
    message: Option<mms::Message<'a>>,
    push: Option<Push<'a>>,
}

const CONNECT: u8 = 0x01;
const CONNECT_REPLY: u8 = 0x02;
const REPLY: u8 = 0x04;
/// Version 1.0, the only one that was ever used.
const VERSION: u8 = 0x10;

impl<'a> Pdu<'a> {
    /// Reads a PDU from its type on, `missing` bytes of which were not captured. Pushes that stand
    /// alone are not for here.
    pub(super) fn read(bytes: &'a [u8], missing: usize) -> Option<Self> {
        let (pdu, rest) = bytes.split_first()?;
        let mut reader = Reader::new(rest);
        let mut read = match *pdu {
            CONNECT => connect(&mut reader),
            CONNECT_REPLY => connect_reply(&mut reader),
            REPLY => reply(&mut reader, missing),
            method @ 0x40..=0x44 => get(&mut reader, method),
            method @ (0x60 | 0x61) => post(&mut reader, method),
            _ => None,
        }?;
        read.evidence.add(8);
        Some(read)
    }

    /// A push inside a transaction.
    pub(super) fn push(bytes: &'a [u8], missing: usize) -> Option<Self> {
        let [pdu @ (PUSH | CONFIRMED_PUSH), rest @ ..] = bytes else { return None };
        let push = Push::read(rest, missing, false)?;
        let name = if *pdu == PUSH { "Push" } else { "ConfirmedPush" };
        let (evidence, is_whole) = (push.evidence, push.is_whole());
        Some(Self { evidence, is_whole, push: Some(push), ..Self::of(name) })
    }

    fn of(name: &'static str) -> Self {
        Self { name, is_whole: true, ..Self::default() }
    }

    /// Puts down what it says.
    pub(super) fn describe(&self, details: &mut Details) {
        details.set("pdu", self.name);
        details.set_known("session_id", self.session_id);
        details.set_known("capabilities", self.capabilities);
        details.set_known("status", self.status);
        details.set_some_address("uri", self.uri);
        if let Some(content_type) = &self.content_type {
            details.set("content_type", content_type.name());
        }
        if let Some(message) = &self.message {
            message.describe(details);
        }
        if self.headers.count > 0 {
            details.set("headers", self.headers.count);
        }
        details.set_some_text("agent", self.headers.user_agent);
        if let Some(push) = &self.push {
            push.describe(details);
        }
    }
}

fn connect<'a>(reader: &mut Reader<'a>) -> Option<Pdu<'a>> {
    if reader.u8()? != VERSION {
        return None;
    }
    let mut pdu = Pdu::of("Connect");
    pdu.evidence.add(8);
    negotiate(reader, &mut pdu)?;
    Some(pdu)
}

fn connect_reply<'a>(reader: &mut Reader<'a>) -> Option<Pdu<'a>> {
    let session = reader.uintvar()?;
    let mut pdu = Pdu::of("ConnectReply");
    pdu.session_id = Some(session);
    negotiate(reader, &mut pdu)?;
    Some(pdu)
}

/// Capabilities and headers, of sizes that add up to the rest.
fn negotiate<'a>(reader: &mut Reader<'a>, pdu: &mut Pdu<'a>) -> Option<()> {
    let capabilities_len = reader.size()?;
    let headers_len = reader.size()?;
    if reader.rest().len() == capabilities_len.checked_add(headers_len)? {
        pdu.evidence.add(8);
    } else {
        pdu.is_whole = false;
    }
    let mut capabilities = Reader::new(reader.take(capabilities_len)?);
    let mut count = 0;
    while !capabilities.is_empty() {
        let len = capabilities.size()?;
        let (id, _) = capabilities.take(len)?.split_first()?;
        // Table 37: eight of them are assigned.
        if !matches!(id, 0x80..=0x88) {
            return None;
        }
        pdu.evidence.add(8);
        count += 1;
    }
    pdu.capabilities = Some(count);
    let mut region = Reader::new(reader.rest());
    let (headers, walked) = Headers::walk(&mut region, 0);
    pdu.is_whole &= walked.is_ok();
    // A beginning alone takes capabilities to be distinguished from noise.
    if !pdu.is_whole && count == 0 {
        return None;
    }
    pdu.evidence.join(headers.evidence);
    pdu.headers = headers;
    Some(())
}

fn reply<'a>(reader: &mut Reader<'a>, missing: usize) -> Option<Pdu<'a>> {
    let status = http_status(reader.u8()?)?;
    let headers_len = reader.size()?;
    let mut region = Reader::new(reader.take(headers_len)?);
    let content_type = ContentType::read(&mut region).ok()?;
    let (headers, walked) = Headers::walk(&mut region, reader.rest().len() + missing);
    walked.ok()?;
    let mut pdu = Pdu::of("Reply");
    pdu.evidence.add(2 + 6);
    pdu.evidence.join(content_type.evidence);
    pdu.evidence.join(headers.evidence);
    // Of what a gateway fetches, multimedia messages and WBXML can be checked.
    let (agreement, body_bits) = agreement(content_type.kind(), reader.rest());
    pdu.evidence.add(body_bits);
    pdu.status = Some(status);
    pdu.content_type = Some(content_type);
    if agreement == Agreement::Agrees && content_type.kind() == Kind::Mms {
        pdu.message = Some(mms::Message::read(reader.rest()));
    }
    pdu.headers = headers;
    Some(pdu)
}

/// The status of HTTP that a byte stands for, table 36.
const fn http_status(byte: u8) -> Option<u16> {
    let (class, number) = (byte >> 4, byte as u16 & 15);
    let is_assigned = match class {
        1 => number <= 1,
        2 => number <= 6,
        3 => number <= 5,
        6 => number <= 5,
        4 | 5 => true,
        _ => false,
    };
    match class {
        _ if !is_assigned => None,
        1..=3 => Some(class as u16 * 100 + number),
        4 => Some(400 + number),
        5 => Some(416 + number),
        _ => Some(500 + number),
    }
}

fn get<'a>(reader: &mut Reader<'a>, method: u8) -> Option<Pdu<'a>> {
    let uri = uri(reader)?;
    let ends_by_size = reader.is_empty();
    let mut region = Reader::new(reader.rest());
    let (headers, walked) = Headers::walk(&mut region, 0);
    let name = match method {
        0x41 => "Options",
        0x42 => "Head",
        0x43 => "Delete",
        0x44 => "Trace",
        _ => "Get",
    };
    // Text of other protocols has letters where a method is, and an address behind it.
    walked.ok()?;
    let mut pdu = Pdu { ends_by_size, ..Pdu::of(name) };
    pdu.evidence.join(uri_evidence(uri));
    pdu.evidence.join(headers.evidence);
    pdu.uri = Some(uri);
    pdu.headers = headers;
    Some(pdu)
}

fn post<'a>(reader: &mut Reader<'a>, method: u8) -> Option<Pdu<'a>> {
    let uri_len = reader.size()?;
    let headers_len = reader.size()?;
    let uri = is_uri(reader.take(uri_len)?)?;
    let mut region = Reader::new(reader.take(headers_len)?);
    let content_type = ContentType::read(&mut region).ok()?;
    let (headers, walked) = Headers::walk(&mut region, reader.rest().len());
    walked.ok()?;
    let mut pdu = Pdu::of(if method == 0x60 { "Post" } else { "Put" });
    pdu.evidence.join(uri_evidence(uri));
    pdu.evidence.join(content_type.evidence);
    pdu.evidence.join(headers.evidence);
    pdu.uri = Some(uri);
    pdu.content_type = Some(content_type);
    pdu.headers = headers;
    Some(pdu)
}

fn uri<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = reader.size()?;
    is_uri(reader.take(len)?)
}

fn is_uri(uri: &[u8]) -> Option<&[u8]> {
    let is_absolute = uri.windows(3).take(16).any(|window| window == b"://");
    let is_path = uri.starts_with(b"/");
    // RFC 2396 §2.4.3: no address has a blank; command lines that begin with a path have.
    let is_text = is_printable(uri) && !uri.contains(&b' ');
    (is_text && (is_absolute || is_path)).then_some(uri)
}

fn uri_evidence(uri: &[u8]) -> Evidence {
    // The text, what makes it an address, and its size.
    let mut evidence = Evidence::of_text(uri);
    evidence.add(8);
    evidence
}
