//! Ways to a command line: SSH, Telnet and the Android Debug Bridge.

use monitor_common::flow::Protocol;

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, first_line, is_printable},
};

/// RFC 4253 §4.2: either side begins with its version.
pub(crate) fn ssh(payload: &Payload<'_>) -> Option<Identification> {
    let rest = payload.bytes.strip_prefix(b"SSH-")?;
    // Some devices end it with a zero.
    let line = first_line(rest).split(|byte| *byte == 0).next().unwrap_or_default();
    let (version, software) = line.split_at(line.iter().position(|byte| *byte == b'-')?);
    if !is_printable(line) || !version.first()?.is_ascii_digit() {
        return None;
    }
    let software = &software[1..];
    let mut details = Details::default();
    details.set_text("protocol_version", version);
    details.set_text("software", software);
    // The scripts ssh-hostkey, ssh2-enum-algos and sshv1 of Nmap say who they are.
    let identification = if contains(software, b"Nmap") {
        Identification::confirmed(Verdict::ScanNmap, "an SSH version that names Nmap")
    } else if contains(software, b"ZGrab") {
        Identification::confirmed(Verdict::ScanZgrab, "an SSH version that names ZGrab")
    } else {
        Identification::confirmed(Verdict::Ssh, "the version line of SSH")
    };
    Some(identification.with(details))
}

/// RFC 854: commands that negotiate options, nothing else.
pub(crate) fn telnet(payload: &Payload<'_>) -> Option<Identification> {
    const IAC: u8 = 0xff;
    let mut rest = payload.bytes;
    let mut options = 0;
    while let [IAC, 0xfb..=0xfe, 0..=49 | 255, after @ ..] = rest {
        rest = after;
        options += 1;
    }
    if !payload.may_be(Protocol::Tcp) {
        return None;
    }
    if options == 0 {
        return subnegotiation(payload.bytes);
    }
    let mut details = Details::default();
    details.set("options", options);
    // What follows options is a banner, or the value of an option.
    let is_all = rest.is_empty() || matches!(rest, [IAC, 0xfa, ..]);
    let reason = "negotiates options of Telnet";
    let identification = if is_all && options > 1 {
        Identification::confirmed(Verdict::Telnet, reason)
    } else if is_all || is_printable(rest.trim_ascii()) {
        Identification::consistent(Verdict::Telnet, reason)
    } else {
        return None;
    };
    Some(identification.with(details))
}

/// RFC 855: the value of an option, up to its end.
fn subnegotiation(bytes: &[u8]) -> Option<Identification> {
    let [0xff, 0xfa, 0..=49, value @ ..] = bytes else { return None };
    let reason = "the value of an option of Telnet";
    let has_end = contains(value, &[0xff, 0xf0]);
    Identification::graded(Verdict::Telnet, 8 + 8 + 2 + if has_end { 14 } else { 0 }, reason)
}

/// `system/core/adb/protocol.txt` of Android: a command, its arguments, and its complement.
pub(crate) fn adb(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(found) = adb_server(payload.bytes) {
        return Some(found);
    }
    const COMMANDS: [&[u8; 4]; 4] = [b"CNXN", b"AUTH", b"STLS", b"OPEN"];
    let mut reader = Reader::new(payload.bytes);
    let command: [u8; 4] = reader.array()?;
    let name = COMMANDS.into_iter().find(|name| **name == command)?;
    let _arguments: [u8; 8] = reader.array()?;
    let len = reader.le32()?;
    let _checksum = reader.le32()?;
    if reader.array::<4>()? != command.map(|byte| !byte) {
        return None;
    }
    let mut details = Details::default();
    details.set_text("command", name);
    if len > 0 && command == *b"CNXN" {
        let banner = reader.rest();
        details.set_some_text("banner", banner.split(|byte| *byte == 0).next());
    }
    let reason = "a message of the Android Debug Bridge, with the complement of its command";
    Some(Identification::confirmed(Verdict::Adb, reason).with(details))
}

/// A request to the server of the Android Debug Bridge: four digits of length, then a service.
fn adb_server(bytes: &[u8]) -> Option<Identification> {
    let (digits, rest) = bytes.split_first_chunk::<4>()?;
    let len = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    let is_request = rest.starts_with(b"host") && rest.contains(&b':') && len == rest.len();
    is_request.then(|| {
        let mut details = Details::default();
        details.set_text("service", rest);
        let reason = "a request to the server of the Android Debug Bridge";
        Identification::confirmed(Verdict::Adb, reason).with(details)
    })
}
