//! What Windows machines speak: SMB, and RDP over UDP.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// [MS-SMB2] §2.1 and [MS-CIFS] §2.2.3.1: the size of the message, then its magic number.
pub(crate) fn smb(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    if reader.u8()? != 0 {
        return None;
    }
    let _len = reader.be24()?;
    let (dialect, command) = match reader.rest() {
        [0xff, b'S', b'M', b'B', command, ..] => ("SMB 1", u16::from(*command)),
        [0xfe, b'S', b'M', b'B', rest @ ..] => {
            let command = rest.get(8..10)?;
            ("SMB 2 or 3", u16::from_le_bytes([command[0], command[1]]))
        }
        // A header that hides another one, encrypted or compressed.
        [0xfd, b'S', b'M', b'B', ..] => ("SMB 3, encrypted", 0),
        [0xfc, b'S', b'M', b'B', ..] => ("SMB 3, compressed", 0),
        _ => return None,
    };
    let mut details = Details::default();
    details.set("dialect", dialect);
    details.set("command", command);
    Some(Identification::confirmed(Verdict::Smb, "the magic number of SMB").with(details))
}

/// [MS-RDPEUDP] §3.1.5.1.1: the SYN of RDP over UDP, padded with zeros to the size of a packet.
pub(crate) fn rdp_over_udp(payload: &Payload<'_>) -> Option<Identification> {
    const SYN: u16 = 0x0001;
    const ACK: u16 = 0x0004;
    /// All flags that are assigned.
    const ASSIGNED: u16 = 0x1fff;
    /// Sizes of packets that may be offered, in bytes.
    const MTU: std::ops::RangeInclusive<u16> = 1132..=1232;
    let mut reader = Reader::new(payload.bytes);
    let acknowledged = reader.be32()?;
    let window = reader.be16()?;
    let flags = reader.be16()?;
    let _sequence = reader.be32()?;
    let (up, down) = (reader.be16()?, reader.be16()?);
    let is_first = flags & ACK == 0 && acknowledged == u32::MAX;
    let is_syn = flags & SYN != 0 && flags & !ASSIGNED == 0 && (is_first || flags & ACK != 0);
    if !is_syn || window == 0 || !MTU.contains(&up) || !MTU.contains(&down) {
        return None;
    }
    let of_acknowledged = if is_first { 30 } else { 0 };
    let of_size = if payload.wire_len == 1232 { 10 } else { 0 };
    let reason = "the SYN of RDP over UDP: nothing acknowledged, flags and sizes of packets";
    Identification::graded(Verdict::Rdp, 18 + 3 + of_acknowledged + of_size, reason)
}
