//! Industrial control: Modbus, BACnet, EtherNet/IP and OPC UA.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// Modbus over TCP: transaction, protocol 0, length, unit, and a function whose size is known.
pub(crate) fn modbus(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let _transaction = reader.be16()?;
    let protocol = reader.be16()?;
    let len = usize::from(reader.be16()?);
    let unit = reader.u8()?;
    let function = reader.u8()?;
    if protocol != 0 || len + 6 > payload.wire_len || !(2..=254).contains(&len) {
        return None;
    }
    let name = modbus_function(function & 0x7f)?;
    let content = reader.rest();
    let content = content.get(..len - 2).unwrap_or(content);
    // Several messages may share a segment.
    let next = payload.bytes.get(len + 6..).unwrap_or_default();
    let is_chain = matches!(next, [_, _, 0, 0, 0, 2..=254, _, function, ..]
        if modbus_function(function & 0x7f).is_some());
    if len + 6 != payload.wire_len && !is_chain {
        return None;
    }
    // Sizes of requests and responses, from the unit on.
    let is_size = match (function, content) {
        (0x80.., [1..=11, ..]) => len == 3,
        (1..=4, [.., count_high, count_low])
            if len == 6 && (1..=2000).contains(&u16::from_be_bytes([*count_high, *count_low])) =>
        {
            true
        }
        (1..=4, [count, ..]) => usize::from(*count) + 3 == len,
        (5 | 6, _) => len == 6,
        (15 | 16, [_, _, _, _, count, ..]) if len > 6 => usize::from(*count) + 7 == len,
        (15 | 16, _) => len == 6,
        // Without data they are requests.
        (7 | 11 | 12 | 17, _) => true,
        (8, _) => len == 6,
        (22, _) => len == 8,
        (23, _) => len >= 4,
        (43, [0x0d | 0x0e, ..]) => true,
        // A session, and a function of its own.
        (90, [_, _, ..]) => true,
        _ => return None,
    };
    if !is_size {
        return None;
    }
    let reason = "a message of Modbus: protocol 0, and a function of the size that it must have";
    let found = Identification::graded(Verdict::Modbus, 16 + 14 + 4 + 6, reason)?;
    let mut details = Details::default();
    details.set("unit", unit);
    details.set("function", name);
    details.set("exception", function & 0x80 != 0);
    Some(found.with(details))
}

const fn modbus_function(function: u8) -> Option<&'static str> {
    Some(match function {
        1 => "read coils",
        2 => "read discrete inputs",
        3 => "read holding registers",
        4 => "read input registers",
        5 => "write a coil",
        6 => "write a register",
        7 => "read exception status",
        8 => "diagnostics",
        11 => "event counter",
        12 => "event log",
        15 => "write coils",
        16 => "write registers",
        17 => "report server id",
        22 => "mask a register",
        23 => "read and write registers",
        43 => "device identification",
        90 => "UMAS of Schneider",
        _ => return None,
    })
}

/// BACnet/IP's port, 0xbac0.
const BACNET: u16 = 47808;

/// BACnet/IP, ASHRAE 135 annex J: type, function, length, then a network message.
pub(crate) fn bacnet(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let [0x81 | 0x82, function @ 0..=0x0c] = reader.array()? else { return None };
    let len = usize::from(reader.be16()?);
    // On its own port, more may follow.
    let home = payload.has_port(BACNET);
    if !(len == payload.wire_len || home && len < payload.wire_len) || len < 4 {
        return None;
    }
    let mut details = Details::default();
    let functions = [
        "result",
        "write broadcast table",
        "read broadcast table",
        "broadcast table",
        "forwarded",
        "register foreign device",
        "read foreign devices",
        "foreign devices",
        "delete foreign device",
        "distribute broadcast",
        "unicast",
        "broadcast",
        "secure",
    ];
    let of_content = match function {
        0 | 5 if len == 6 => 8,
        2 | 6 if len == 4 => 8,
        8 if len == 10 => 8,
        4 | 9..=11 => {
            if function == 4 {
                // The address of the device that sent it first.
                reader.take(6)?;
            }
            match reader.array()? {
                [1, control] => 16 + service(&mut reader, control, &mut details),
                _ => 0,
            }
        }
        1 | 3 | 7 | 12 => 0,
        _ => return None,
    };
    let bits = 7 + 4 + if len == payload.wire_len { 16 } else { 8 } + of_content;
    let reason = "a message of BACnet/IP: type, function and length, and a network message";
    let found = Identification::graded(Verdict::Bacnet, bits, reason)?;
    let mut all = Details::default();
    all.set("function", functions[usize::from(function)]);
    all.append(details);
    Some(found.with(all))
}

/// Notes the service of an application's message, and returns the bits of evidence in it.
fn service(reader: &mut Reader<'_>, control: u8, details: &mut Details) -> u32 {
    const HAS_DESTINATION: u8 = 0x20;
    const HAS_SOURCE: u8 = 0x08;
    const IS_NETWORK: u8 = 0x80;
    if control & IS_NETWORK != 0 {
        return 0;
    }
    for flag in [HAS_DESTINATION, HAS_SOURCE] {
        if control & flag != 0 && (reader.take(2).is_none() || reader.block8().is_none()) {
            return 0;
        }
    }
    if control & HAS_DESTINATION != 0 && reader.u8().is_none() {
        return 0;
    }
    match *reader.rest() {
        [0x10, service, ..] => {
            let name = match service {
                0 => "i-am",
                1 => "i-have",
                7 => "who-has",
                8 => "who-is",
                6 | 9 => "time synchronization",
                _ => "other",
            };
            details.set("service", name);
            4
        }
        [0x00..=0x0f, _, _, service, ..] => {
            let name = match service {
                12 => "read property",
                14 => "read property multiple",
                15 => "write property",
                20 => "reinitialize device",
                _ => "other",
            };
            details.set("service", name);
            2
        }
        _ => 0,
    }
}

/// EtherNet/IP, CIP volume 2 §2-3: command, length, session, status, context, options; or data of a
/// connection in a datagram.
pub(crate) fn enip(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(found) = connected_data(payload) {
        return Some(found);
    }
    const HEADER_LEN: usize = 24;
    let mut reader = Reader::new(payload.bytes);
    let command = reader.le16()?;
    let len = usize::from(reader.le16()?);
    let session = reader.le32()?;
    let status = reader.le32()?;
    let _context: [u8; 8] = reader.array()?;
    let options = reader.le32()?;
    let name = match command {
        0x00 => "no operation",
        0x04 => "list services",
        0x63 => "list identity",
        0x64 => "list interfaces",
        0x65 => "register session",
        0x66 => "unregister session",
        0x6f => "send data for a request",
        0x70 => "send data for a unit",
        _ => return None,
    };
    let is_status = matches!(status, 0..=3 | 0x64 | 0x65 | 0x69);
    // Several messages may share a segment.
    let rest = payload.bytes.get(len + HEADER_LEN..).unwrap_or_default();
    let is_followed =
        session != 0 && matches!(rest, [0x04 | 0x63..=0x66 | 0x6f | 0x70, 0, _, 0..=8, ..]);
    let is_size = len + HEADER_LEN == payload.wire_len || is_followed;
    if !is_size || !is_status || options != 0 {
        return None;
    }
    // Twenty-four zeros are no message.
    if command == 0 && session == 0 {
        return None;
    }
    let mut details = Details::default();
    details.set("command", name);
    details.set("session", format!("0x{session:08x}"));
    const IDENTITY: u16 = 0x63;
    if command == IDENTITY && len > 0 {
        describe_identity(&mut reader, &mut details);
    }
    let reason = "a message of EtherNet/IP: command, length, status and options";
    Some(Identification::confirmed(Verdict::Enip, reason).with(details))
}

/// Two items of the common packet format, §2-6: the address of a connection, and its data.
fn connected_data(payload: &Payload<'_>) -> Option<Identification> {
    const SEQUENCED_ADDRESS: u16 = 0x8002;
    const CONNECTED_DATA: u16 = 0x00b1;
    let mut reader = Reader::new(payload.bytes);
    let head = [reader.le16()?, reader.le16()?, reader.le16()?];
    let connection = reader.le32()?;
    let _sequence = reader.le32()?;
    let kind = reader.le16()?;
    let len = usize::from(reader.le16()?);
    let is_right = head == [2, SEQUENCED_ADDRESS, 8] && kind == CONNECTED_DATA;
    (is_right && len + 18 == payload.wire_len).then(|| {
        let mut details = Details::default();
        details.set("command", "data of a connection");
        details.set("connection", format!("0x{connection:08x}"));
        let reason = "two items of EtherNet/IP: a connection and its data";
        Identification::confirmed(Verdict::Enip, reason).with(details)
    })
}

fn describe_identity(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    // Count, type, length, version, address; vendor, type, code, revision, status, serial number.
    reader.take(2 + 2 + 2 + 2 + 16)?;
    details.set("vendor", reader.le16()?);
    reader.take(2 + 2 + 2 + 2 + 4)?;
    details.set_some_text("product", reader.block8());
    Some(())
}

/// OPC UA, part 6 §7.1: type, chunk and size of a message.
pub(crate) fn opcua(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let kind: [u8; 3] = reader.array()?;
    let chunk = reader.u8()?;
    let size = reader.le32()? as usize;
    let name = match &kind {
        b"HEL" => "hello",
        b"ACK" => "acknowledge",
        b"ERR" => "error",
        b"RHE" => "reverse hello",
        b"OPN" => "open secure channel",
        b"MSG" => "message",
        b"CLO" => "close secure channel",
        _ => return None,
    };
    if !matches!(chunk, b'F' | b'C' | b'A') || !(8..=16 << 20).contains(&size) {
        return None;
    }
    let of_size = if size == payload.wire_len { 16 } else { 0 };
    let reason = "a message of OPC UA: type, chunk and size";
    let found = Identification::graded(Verdict::Opcua, 21 + 6 + of_size, reason)?;
    let mut details = Details::default();
    details.set("message", name);
    if &kind == b"HEL" {
        // Version, sizes of buffers and messages, number of chunks, then the address.
        let url = reader.take(20).and_then(|_| {
            let len = reader.le32()? as usize;
            reader.take(len)
        });
        details.set_some_address("endpoint", url);
    }
    Some(found.with(details))
}
