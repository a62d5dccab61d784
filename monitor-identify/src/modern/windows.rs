//! What Windows machines speak: SMB and RDP.

use monitor_common::flow::Protocol;

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, first_line},
};

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
        _ => return None,
    };
    let mut details = Details::default();
    details.set("dialect", dialect);
    details.set("command", command);
    Some(Identification::confirmed(Verdict::Smb, "the magic number of SMB").with(details))
}

/// [MS-RDPBCGR] §2.2.1.1: a connection request of X.224 inside TPKT.
pub(crate) fn rdp(payload: &Payload<'_>) -> Option<Identification> {
    const REQUEST: u8 = 0xe0;
    const CONFIRM: u8 = 0xd0;
    let mut reader = Reader::new(payload.bytes);
    if reader.array()? != [3, 0] || !payload.may_be(Protocol::Tcp) {
        return None;
    }
    let len = usize::from(reader.be16()?);
    let indicator = usize::from(reader.u8()?);
    let kind = reader.u8()?;
    if len != indicator + 5 || len > payload.wire_len {
        return None;
    }
    // Two references and a class.
    let _references: [u8; 5] = reader.array()?;
    match kind {
        REQUEST => Some(rdp_request(reader.rest())),
        // The server chooses how to secure the connection, or refuses.
        CONFIRM if matches!(reader.rest(), [] | [2 | 3, _, 8, 0, ..]) => {
            let reason = "a connection confirmation of X.224, as RDP servers send it";
            Some(Identification::confirmed(Verdict::Rdp, reason))
        }
        _ => None,
    }
}

fn rdp_request(rest: &[u8]) -> Identification {
    const COOKIE: &[u8] = b"Cookie: mstshash=";
    let mut details = Details::default();
    let Some(cookie) = rest.strip_prefix(COOKIE).map(first_line) else {
        let reason = "a connection request of X.224";
        return if matches!(rest, [1, _, 8, 0, ..]) {
            Identification::confirmed(Verdict::Rdp, "a connection request with RDP's negotiation")
        } else {
            Identification::consistent(Verdict::Rdp, reason)
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
