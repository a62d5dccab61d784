//! Industrial control: Modbus, DNP3, BACnet, EtherNet/IP, IEC 60870-5-104 and OPC UA.

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

/// DNP3, IEEE 1815 §9: a frame whose header has a checksum.
pub(crate) fn dnp3(payload: &Payload<'_>) -> Option<Identification> {
    let header: &[u8; 10] = payload.bytes.first_chunk()?;
    let &[0x05, 0x64, len @ 5..=255, control, destination @ .., c0, c1] = header else {
        return None;
    };
    let [d0, d1, s0, s1] = destination;
    let is_sum = dnp3_checksum(&header[..8]) == u16::from_le_bytes([c0, c1]);
    // Data comes in blocks of 16 bytes, each with a checksum of its own.
    let data = usize::from(len) - 5;
    let is_whole = header.len() + data + data.div_ceil(16) * 2 == payload.wire_len;
    if !is_sum && !is_whole {
        return None;
    }
    let mut details = Details::default();
    details.set("source", u16::from_le_bytes([s0, s1]));
    details.set("destination", u16::from_le_bytes([d0, d1]));
    details.set("from_master", control & 0x80 != 0);
    // Behind the checksum: the transport's byte, the application's control, and its function.
    if len > 7
        && let Some(function) = payload.bytes.get(12)
    {
        let name = match function {
            0 => "confirm",
            1 => "read",
            2 => "write",
            3 => "select",
            4 => "operate",
            5 | 6 => "direct operate",
            13 => "cold restart",
            14 => "warm restart",
            20 => "enable unsolicited",
            21 => "disable unsolicited",
            129 => "response",
            130 => "unsolicited response",
            _ => "other",
        };
        details.set("function", name);
    }
    let found = if is_sum {
        Identification::confirmed(Verdict::Dnp3, "a frame of DNP3 whose checksum is right")
    } else {
        let reason = "the start of a DNP3 frame, whose size is right and whose checksum is not";
        Identification::consistent(Verdict::Dnp3, reason)
    };
    Some(found.with(details))
}

/// CRC-16/DNP, the lowest bit first.
fn dnp3_checksum(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0xa6bc;
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| {
            if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ POLYNOMIAL }
        })
    });
    !sum
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
    let is_followed = matches!(rest, [0x65 | 0x66 | 0x6f | 0x70, 0, _, 0..=8, ..]) && session != 0;
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

/// IEC 60870-5-104: units that begin with 0x68 and a length, up to the end.
pub(crate) fn iec104(payload: &Payload<'_>) -> Option<Identification> {
    const START: u8 = 0x68;
    let mut reader = Reader::new(payload.bytes);
    let (mut bits, mut first) = (0_u32, None);
    while !reader.is_empty() {
        if reader.u8()? != START {
            return None;
        }
        let unit = reader.block8()?;
        let (name, of_unit) = iec104_unit(unit)?;
        first.get_or_insert((name, unit));
        bits += 8 + of_unit;
    }
    let (name, unit) = first?;
    let reason = "units of IEC 60870-5-104, whose lengths add up to the payload";
    let found = Identification::graded(Verdict::Iec104, bits + 6, reason)?;
    let mut details = Details::default();
    details.set("unit", name);
    if let [_, _, _, _, kind, _, cause, _, low, high, ..] = *unit {
        details.set("type", kind);
        details.set("cause", cause & 0x3f);
        details.set("station", u16::from_le_bytes([low, high]));
    }
    Some(found.with(details))
}

/// The name of a unit, and the bits of evidence in it.
fn iec104_unit(unit: &[u8]) -> Option<(&'static str, u32)> {
    match *unit {
        [0x07, 0, 0, 0] => Some(("start of data transfer", 40)),
        [0x0b, 0, 0, 0] => Some(("start of data transfer confirmed", 40)),
        [0x13, 0, 0, 0] => Some(("stop of data transfer", 40)),
        [0x23, 0, 0, 0] => Some(("stop of data transfer confirmed", 40)),
        [0x43, 0, 0, 0] => Some(("test", 40)),
        [0x83, 0, 0, 0] => Some(("test confirmed", 40)),
        [1, 0, low, _] if low & 1 == 0 => Some(("acknowledgement", 23)),
        [send, _, receive, _, kind, _, cause, ..] if unit.len() >= 10 => {
            let is_type = matches!(kind, 1..=40 | 45..=64 | 70 | 100..=107 | 110..=113 | 120..=127);
            let is_cause = matches!(cause & 0x3f, 1..=47);
            let is_right = send & 1 == 0 && receive & 1 == 0 && is_type && is_cause;
            is_right.then_some(("information", 2 + 1 + 1 + 12))
        }
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_dnp3() {
        let header = [0x05, 0x64, 0x08, 0xc4, 0x04, 0x00, 0x03, 0x00];
        assert_eq!(dnp3_checksum(&header).to_le_bytes(), [0xb4, 0xb8]);
    }
}
