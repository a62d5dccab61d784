//! DCE/RPC, C706 §12.6, as Windows speaks it ([MS-RPCE]); with connections and without.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes.first()? {
        5 if payload.may_be(Protocol::Tcp) => over_connection(payload),
        4 if payload.may_be(Protocol::Udp) => over_datagrams(payload),
        _ => None,
    }
}

fn over_connection(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [version, minor, kind, flags] = reader.array()?;
    let representation: [u8; 4] = reader.array()?;
    let lengths: [[u8; 2]; 2] = [reader.array()?, reader.array()?];
    let is_little = match representation {
        [0x10, 0, 0, 0] => true,
        [0, 0, 0, 0] => false,
        _ => return None,
    };
    let word =
        |bytes| if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
    let [len, authentication] = lengths.map(word).map(usize::from);
    let name = packet_name(kind)?;
    let is_right =
        version == 5 && minor <= 1 && flags & 0x08 == 0 && len >= 16 && authentication + 16 <= len;
    if !is_right {
        return None;
    }
    let of_size = if len == payload.wire_len { 14 } else { 0 };
    let reason = "a packet of DCE/RPC: version, type, representation of data, and sizes";
    let found = Identification::graded(Verdict::Dcerpc, 15 + 4 + 24 + of_size, reason)?;
    let mut details = Details::default();
    details.set("packet", name);
    const BIND: u8 = 11;
    const ALTER_CONTEXT: u8 = 14;
    const REQUEST: u8 = 0;
    let _call = reader.le32();
    match kind {
        BIND | ALTER_CONTEXT => describe_bind(&mut reader, &mut details),
        REQUEST => describe_request(&mut reader, &mut details),
        _ => None,
    };
    Some(found.with(details))
}

fn describe_bind(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    // Fragment sizes, association, number of contexts; context id, number of syntaxes.
    reader.take(8 + 4 + 4)?;
    let uuid = reader.array()?;
    details.set("interface", interface(uuid));
    Some(())
}

fn describe_request(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    let _hint = reader.le32()?;
    let _context = reader.le16()?;
    details.set("operation", reader.le16()?);
    Some(())
}

fn over_datagrams(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 80;
    let header: &[u8; HEADER_LEN] = payload.bytes.first_chunk()?;
    let &[4, kind @ 0..=10, flags, flags_2, 0x10 | 0, 0, 0, _, ..] = header else { return None };
    let is_little = header[4] == 0x10;
    let len = [header[74], header[75]];
    let len = if is_little { u16::from_le_bytes(len) } else { u16::from_be_bytes(len) };
    let is_right = flags & 0x80 == 0
        && flags_2 & !0x03 == 0
        && usize::from(len) + HEADER_LEN == payload.wire_len
        && header[79] == 0;
    if !is_right {
        return None;
    }
    let mut uuid: [u8; 16] = [0; 16];
    uuid.copy_from_slice(&header[24..40]);
    let mut details = Details::default();
    let names = [
        "request",
        "ping",
        "response",
        "fault",
        "working",
        "nocall",
        "reject",
        "ack",
        "cl_cancel",
        "fack",
        "cancel_ack",
    ];
    details.set("packet", names[usize::from(kind)]);
    details.set("interface", interface(uuid));
    let reason = "a packet of connectionless DCE/RPC: version, type, flags and size";
    Some(Identification::confirmed(Verdict::Dcerpc, reason).with(details))
}

/// The name of an interface that attackers look for, or its UUID.
fn interface(uuid: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let first = u32::from_le_bytes([a, b, c, d]);
    let name = match first {
        0xe1af_8308 => Some("endpoint mapper"),
        0x4b32_4fc8 => Some("srvsvc: shares and sessions"),
        0x1234_5778 if rest[7] == 0xac => Some("samr: accounts"),
        0x1234_5778 => Some("lsarpc: policies"),
        0x367a_bb81 => Some("svcctl: services"),
        0x1ff7_0682 => Some("atsvc: scheduled tasks"),
        0x8665_4dd2 | 0x8661_d4c2 => Some("ITaskSchedulerService: scheduled tasks"),
        0x1234_5678 if rest[7] == 0xfb => Some("netlogon"),
        0x1234_5678 => Some("spoolss: printing"),
        0x338c_d001 => Some("winreg: registry"),
        0xe351_4235 => Some("drsuapi: replication of directories"),
        0x99fc_fec4 => Some("IObjectExporter: DCOM"),
        0x0000_01a0 => Some("ISystemActivator: DCOM"),
        0xc681_d488 => Some("efsrpc: encrypted files"),
        0x6bff_d098 => Some("wkssvc: workstation"),
        _ => None,
    };
    if let Some(name) = name {
        return name.to_owned();
    }
    let second = u16::from_le_bytes([e, f]);
    let third = u16::from_le_bytes([g, h]);
    let (fourth, node) = rest.split_at(2);
    format!(
        "{first:08x}-{second:04x}-{third:04x}-{}-{}",
        crate::details::hex(fourth),
        crate::details::hex(node)
    )
}

const fn packet_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0 => "request",
        2 => "response",
        3 => "fault",
        11 => "bind",
        12 => "bind_ack",
        13 => "bind_nak",
        14 => "alter_context",
        15 => "alter_context_response",
        16 => "auth3",
        17 => "shutdown",
        18 => "cancel",
        19 => "orphaned",
        _ => return None,
    })
}
