//! Protocols on ISO transport over TCP (TPKT, RFC 1006, and COTP, X.224): RDP, S7 and others.

use crate::{
    Identification, Payload, Verdict,
    details::{Details, hex},
    reader::{Reader, first_line, is_printable},
};

/// Types of COTP's units, in the upper half of a byte.
const REQUEST: u8 = 0xe0;
const CONFIRM: u8 = 0xd0;
const DATA: u8 = 0xf0;
const DISCONNECT: u8 = 0x80;

/// A unit of COTP inside TPKT.
struct Unit<'a> {
    kind: u8,
    /// Fields behind the fixed part: parameters of a connection, or the data of a data unit.
    rest: Reader<'a>,
    /// Bytes that the length indicator leaves for `rest`; data is not counted by it.
    rest_len: usize,
    /// Whether the sizes of TPKT and COTP end the payload.
    is_whole: bool,
}

impl<'a> Unit<'a> {
    fn read(payload: &Payload<'a>) -> Option<Self> {
        let mut reader = Reader::new(payload.bytes);
        if reader.array()? != [3, 0] {
            return None;
        }
        let len = usize::from(reader.be16()?);
        let indicator = usize::from(reader.u8()?);
        let kind = reader.u8()?;
        if len < indicator + 5 || indicator < 2 {
            return None;
        }
        let rest_len = match kind {
            REQUEST | CONFIRM | DISCONNECT => {
                // Two references, and a class or a reason.
                let _references: [u8; 5] = reader.array()?;
                if len != indicator + 5 {
                    return None;
                }
                indicator.checked_sub(6)?
            }
            DATA if indicator == 2 && matches!(reader.u8()?, 0 | 0x80) => len - 7,
            _ => return None,
        };
        let is_whole = len == payload.wire_len;
        (is_whole || len < payload.wire_len || kind == DATA).then_some(Self {
            kind,
            rest: reader,
            rest_len,
            is_whole,
        })
    }
}

/// Any of them.
pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let unit = Unit::read(payload)?;
    let rest = unit.rest.rest();
    match unit.kind {
        REQUEST if is_rdp_request(rest, unit.rest_len) => Some(rdp_request(rest)),
        CONFIRM if matches!(rest, [] | [2 | 3, _, 8, 0, ..]) => {
            let reason = "a connection confirmation of X.224, as RDP servers send it";
            Some(Identification::confirmed(Verdict::Rdp, reason))
        }
        REQUEST | CONFIRM => connection(&unit),
        DATA => data(&unit, payload),
        _ if unit.is_whole && unit.rest_len <= 2 => {
            let reason = "a disconnect request of COTP inside TPKT, whose sizes agree";
            Some(Identification::confirmed(Verdict::Cotp, reason))
        }
        _ => None,
    }
}

/// [MS-RDPBCGR] §2.2.1.1: a cookie or a routing token, a negotiation, or nothing. Other protocols
/// have parameters here.
fn is_rdp_request(rest: &[u8], rest_len: usize) -> bool {
    rest_len == 0 || rest.starts_with(b"Cookie: ") || matches!(rest, [1, _, 8, 0, ..])
}

fn rdp_request(rest: &[u8]) -> Identification {
    const COOKIE: &[u8] = b"Cookie: mstshash=";
    const TOKEN: &[u8] = b"Cookie: msts=";
    let mut details = Details::default();
    let Some(cookie) = rest.strip_prefix(COOKIE).map(first_line) else {
        if let Some(token) = rest.strip_prefix(TOKEN).map(first_line) {
            details.set_text("routing_token", token);
            let reason = "a connection request with RDP's routing token";
            return Identification::confirmed(Verdict::Rdp, reason).with(details);
        }
        return if rest.is_empty() {
            let reason = "a connection request of X.224 with nothing behind its fixed part";
            Identification::consistent(Verdict::Rdp, reason)
        } else {
            Identification::confirmed(Verdict::Rdp, "a connection request with RDP's negotiation")
        };
    };
    details.set_text("cookie", cookie);
    let identification = if cookie == b"nmap" {
        Identification::confirmed(
            Verdict::ScanNmap,
            "an RDP request with the user that only Nmap's version detection names",
        )
    } else {
        Identification::confirmed(Verdict::Rdp, "a connection request with RDP's cookie")
    };
    identification.with(details)
}

/// The parameters of a connection: transport selectors, which S7 and MMS fill, and a size.
#[derive(Default)]
struct Parameters<'a> {
    calling: Option<&'a [u8]>,
    called: Option<&'a [u8]>,
    count: u32,
}

impl<'a> Parameters<'a> {
    const TPDU_SIZE: u8 = 0xc0;
    const CALLING: u8 = 0xc1;
    const CALLED: u8 = 0xc2;

    fn read(mut reader: Reader<'a>) -> Option<Self> {
        let mut parameters = Self::default();
        while let Some(code) = reader.u8() {
            let value = reader.block8()?;
            match code {
                Self::CALLING => parameters.calling = Some(value),
                Self::CALLED => parameters.called = Some(value),
                Self::TPDU_SIZE if value.len() == 1 => {}
                // Checksums, versions, options and times.
                0x85..=0x8b | 0xc3..=0xc7 | 0xe0 | 0xf0 => {}
                _ => return None,
            }
            parameters.count += 1;
        }
        (parameters.count > 0).then_some(parameters)
    }
}

fn connection(unit: &Unit<'_>) -> Option<Identification> {
    let parameters = Parameters::read(unit.rest)?;
    let mut details = Details::default();
    details.set("unit", if unit.kind == REQUEST { "connect request" } else { "connect confirm" });
    details.set_known("calling_selector", parameters.calling.map(selector));
    details.set_known("called_selector", parameters.called.map(selector));
    let reason = "a connection of ISO transport over TCP: its sizes agree, and its parameters are \
                  read to the end; S7, MMS and others follow";
    Some(Identification::confirmed(Verdict::Cotp, reason).with(details))
}

fn selector(bytes: &[u8]) -> String {
    if bytes.len() > 2 && is_printable(bytes) {
        return crate::details::shown(bytes);
    }
    hex(bytes)
}

fn data(unit: &Unit<'_>, payload: &Payload<'_>) -> Option<Identification> {
    match unit.rest.rest() {
        [0x32, kind @ (1 | 2 | 3 | 7), 0, 0, ..] => Some(s7(*kind, unit.rest, unit)),
        [0x72, version @ (1..=3 | 0xfe), high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            (len + 4 <= unit.rest_len).then(|| {
                let mut details = Details::default();
                details.set("version", format!("S7comm-plus {version}"));
                let reason = "a message of S7comm-plus inside ISO transport, whose sizes nest";
                Identification::confirmed(Verdict::S7comm, reason).with(details)
            })
        }
        // MCS of T.125, with which RDP goes on.
        [0x7f, 0x65 | 0x66, ..] => {
            let reason = "a connection of MCS inside X.224, as RDP has it";
            Some(Identification::confirmed(Verdict::Rdp, reason))
        }
        // Domains, users and channels of MCS: a choice in six bits, and the sizes it has.
        [0x04, 1, 0, 1, 0] | [0x28] | [0x2e, 0, ..] | [0x38 | 0x3e, ..]
            if unit.is_whole && unit.rest_len <= 8 =>
        {
            let reason = "a unit of MCS inside X.224, by which RDP joins its channels";
            Some(Identification::consistent(Verdict::Rdp, reason))
        }
        // Data: a user, a channel from 1001 on, and a priority.
        [0x64 | 0x68, _, _, 0x03, channel, 0x70 | 0xf0, ..] if *channel >= 0xe9 => {
            let reason = "data of MCS inside X.224, in a channel of RDP";
            Some(Identification::consistent(Verdict::Rdp, reason))
        }
        // A session's connect, accept or data, X.225, in which MMS and others travel.
        [0x0d | 0x0e | 0x01, ..] if unit.rest_len > 2 => {
            let found = Identification::graded(
                Verdict::Cotp,
                40 - if payload.is_cut() { 8 } else { 0 },
                "data of ISO transport over TCP with a session of X.225, as MMS has it",
            )?;
            Some(found)
        }
        // A message of MMS without session: its tag, and a length that ends the unit.
        [0xa0..=0xad, ..] if is_element(unit) => {
            let reason = "data of ISO transport over TCP with a message of MMS, whose size agrees";
            Some(Identification::consistent(Verdict::Cotp, reason))
        }
        [] if unit.rest_len == 0 => {
            let reason = "an empty data unit of ISO transport over TCP";
            Some(Identification::confirmed(Verdict::Cotp, reason))
        }
        _ => None,
    }
}

/// Whether an element of BER fills the unit.
fn is_element(unit: &Unit<'_>) -> bool {
    let mut reader = unit.rest;
    let before = reader.rest().len();
    let len = reader.u8().and_then(|_| super::ber::len(&mut reader));
    len.is_some_and(|len| before - reader.rest().len() + len == unit.rest_len)
}

/// S7comm of Siemens: protocol 0x32, its role, a reference, sizes, and a function.
fn s7(kind: u8, mut reader: Reader<'_>, unit: &Unit<'_>) -> Identification {
    let mut details = Details::default();
    let roles = ["", "job", "acknowledgement", "answer", "", "", "", "user data"];
    details.set("role", roles[usize::from(kind)]);
    let header = if matches!(kind, 2 | 3) { 12 } else { 10 };
    let sizes = reader.take(header).map(|header| {
        let size = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        size(6) + size(8) + header.len()
    });
    let function = reader.peek().map(|function| match function {
        0x04 => "read variable",
        0x05 => "write variable",
        0x1a => "request download",
        0x1b => "download block",
        0x1c => "download ended",
        0x1d => "start upload",
        0x1e => "upload",
        0x1f => "end upload",
        0x28 => "control of the program",
        0x29 => "stop of the processor",
        0xf0 => "set up communication",
        _ => "other",
    });
    if kind != 7 {
        details.set_known("function", function);
    }
    let reason = "a message of S7comm inside ISO transport over TCP";
    let found = if sizes == Some(unit.rest_len) {
        Identification::confirmed(Verdict::S7comm, reason)
    } else {
        Identification::consistent(Verdict::S7comm, reason)
    };
    found.with(details)
}
