//! Remote calls: Thrift, GIOP and Sun's RPC.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, is_printable},
};

/// Apache Thrift: the binary protocol with its version, or the compact one, perhaps in a frame.
pub(crate) fn thrift(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(found) = thrift_message(payload.bytes, 0) {
        return Some(found);
    }
    let (len, rest) = payload.bytes.split_first_chunk()?;
    let is_framed = u32::from_be_bytes(*len) as usize + 4 == payload.wire_len;
    if is_framed { thrift_message(rest, 14) } else { None }
}

fn thrift_message(bytes: &[u8], of_frame: u32) -> Option<Identification> {
    const KINDS: [&str; 5] = ["", "call", "reply", "exception", "one-way call"];
    let mut reader = Reader::new(bytes);
    let (protocol, kind, name) = match reader.array()? {
        [0x80, 1] => {
            let [0, kind @ 1..=4] = reader.array()? else { return None };
            let len = reader.be32()? as usize;
            ("binary", kind, reader.take(len)?)
        }
        [0x82, head] if head & 0x1f == 1 && matches!(head >> 5, 1..=4) => {
            // The number of the message: seven bits a byte.
            let more = reader.rest().iter().take(4).take_while(|byte| **byte & 0x80 != 0).count();
            reader.take(more + 1)?;
            ("compact", head >> 5, reader.block8()?)
        }
        _ => return None,
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:".contains(byte);
    if name.is_empty() || !name.iter().all(is_name) {
        return None;
    }
    let of_header = if protocol == "binary" { 30 } else { 16 };
    let bits = of_header + of_frame + name.len().min(8) as u32;
    let reason = "a message of Thrift: version, type, and the name of a method";
    let found = Identification::graded(Verdict::Thrift, bits, reason)?;
    let mut details = Details::default();
    details.set("protocol", protocol);
    details.set("message", KINDS[usize::from(kind)]);
    details.set_text("method", name);
    Some(found.with(details))
}

/// General Inter-ORB Protocol, CORBA 3.3 part 2 §9.4: magic, version, flags, type and size.
pub(crate) fn giop(payload: &Payload<'_>) -> Option<Identification> {
    const MESSAGES: [&str; 8] = [
        "request",
        "reply",
        "cancel request",
        "locate request",
        "locate reply",
        "close connection",
        "message error",
        "fragment",
    ];
    let mut reader = Reader::new(payload.bytes.strip_prefix(b"GIOP")?);
    let [1, minor @ 0..=3, flags @ 0..=7, message] = reader.array()? else { return None };
    let name = MESSAGES.get(usize::from(message))?;
    let mut details = Details::default();
    details.set("version", format!("1.{minor}"));
    details.set("message", *name);
    details.set("byte_order", if flags & 1 == 0 { "big" } else { "little" });
    Some(Identification::confirmed(Verdict::Giop, "the header of GIOP").with(details))
}

/// Sun's remote procedure calls, RFC 5531 §9, on TCP behind a mark.
pub(crate) fn sunrpc(payload: &Payload<'_>) -> Option<Identification> {
    if payload.may_be(Protocol::Udp)
        && let Some(found) = sunrpc_message(payload.bytes, 0)
    {
        return Some(found);
    }
    const LAST_FRAGMENT: u32 = 0x8000_0000;
    let (mark, rest) = payload.bytes.split_first_chunk()?;
    let mark = u32::from_be_bytes(*mark);
    let len = (mark & !LAST_FRAGMENT) as usize;
    // A long call goes on in further segments, and several share one.
    let is_marked = mark & LAST_FRAGMENT != 0 && (24..1 << 22).contains(&len);
    if payload.may_be(Protocol::Tcp) && is_marked { sunrpc_message(rest, 15) } else { None }
}

/// Programs that are assigned, and those of users.
const fn is_program(program: u32) -> bool {
    matches!(program, 100_000..=400_000 | 0x2000_0000..=0x3fff_ffff | 0x4000_0000..=0x5fff_ffff)
}

fn sunrpc_message(bytes: &[u8], of_mark: u32) -> Option<Identification> {
    const CALL: u32 = 0;
    const REPLY: u32 = 1;
    let mut reader = Reader::new(bytes);
    let _transaction = reader.be32()?;
    match reader.be32()? {
        CALL => {
            let version = reader.be32()?;
            let (program, program_version, procedure) =
                (reader.be32()?, reader.be32()?, reader.be32()?);
            // Credentials: none, by the system, short, DH or GSS.
            let flavour = reader.be32()?;
            let is_right = version == 2
                && is_program(program)
                // Of users' programs the number could be anything: the version says more.
                && (program_version > 0 || program < 0x2000_0000)
                // Nmap asks the portmapper for a version that there is not.
                && (program_version < 100 || program == PORTMAPPER && procedure == 0)
                && procedure < 200
                && (flavour <= 6 || flavour >= 390_000)
                && reader.be32()? <= 400;
            is_right.then(|| {
                let mut details = Details::default();
                details.set("message", "call");
                match program_name(program) {
                    Some(name) => details.set("program", name),
                    None => details.set("program", program),
                }
                details.set("program_version", program_version);
                details.set("procedure", procedure);
                let reason = "a call of Sun's RPC: its version, a program and credentials";
                Identification::confirmed(Verdict::Sunrpc, reason).with(details)
            })
        }
        REPLY => {
            let status = reader.be32()?;
            let words = [reader.be32()?, reader.be32()?, reader.be32()?];
            // Accepted, with a verifier that is empty nearly always; or denied.
            let is_right = match status {
                0 => words[0] <= 6 && words[1] <= 400 && (words[1] != 0 || words[2] <= 5),
                // Versions that are supported, or what is wrong with the credentials.
                1 => (words[0] == 0 && words[1] <= 4) || (words[0] == 1 && words[1] <= 14),
                _ => false,
            };
            if !is_right {
                return None;
            }
            let of_words = if status == 0 && words == [0; 3] { 32 } else { 0 };
            let reason = "a reply of Sun's RPC";
            let found =
                Identification::graded(Verdict::Sunrpc, 31 + 20 + of_words - 24 + of_mark, reason)?;
            let mut details = Details::default();
            details.set("message", "reply");
            details.set("accepted", status == 0);
            Some(found.with(details))
        }
        _ => None,
    }
}

const PORTMAPPER: u32 = 100_000;

const fn program_name(program: u32) -> Option<&'static str> {
    Some(match program {
        PORTMAPPER => "portmapper",
        100_001 => "rstat",
        100_002 => "rusers",
        100_003 => "NFS",
        100_004 => "NIS",
        100_005 => "mount",
        100_021 => "NFS lock manager",
        100_024 => "status monitor",
        100_083 => "tooltalk",
        100_227 => "NFS access lists",
        390_113 => "NetWorker",
        _ => return None,
    })
}

/// A pkt-line of Git, `gitprotocol-pack`: four digits of length, a command, a path and a host.
pub(crate) fn git(payload: &Payload<'_>) -> Option<Identification> {
    let (digits, rest) = payload.bytes.split_first_chunk::<4>()?;
    let len = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    if let Some(found) = git_answer(len, rest) {
        return Some(found);
    }
    let mut reader = Reader::new(rest);
    let request = reader.text_to_nul()?;
    let command = ["git-upload-pack ", "git-receive-pack ", "git-upload-archive "]
        .into_iter()
        .find(|command| request.starts_with(command.as_bytes()))?;
    if len < 4 || !is_printable(request) {
        return None;
    }
    let mut details = Details::default();
    details.set("command", command.trim_end());
    details.set_address("path", &request[command.len()..]);
    let host = reader.text_to_nul().and_then(|host| host.strip_prefix(b"host="));
    details.set_some_text("host", host);
    let reason = "a request to a Git server: length, command and path";
    Some(Identification::confirmed(Verdict::Git, reason).with(details))
}

/// The first pkt-line of a Git server: its references, its version, or an error.
fn git_answer(len: usize, rest: &[u8]) -> Option<Identification> {
    let text = rest.get(..len.checked_sub(4)?).unwrap_or(rest);
    let mut details = Details::default();
    let (grade, field, shown) = if let Some(error) = text.strip_prefix(b"ERR ") {
        (Grade::Consistent, "error", error)
    } else if let Some(version @ (b"1" | b"2")) = text.trim_ascii_end().strip_prefix(b"version ") {
        (Grade::Confirmed, "version", version)
    } else {
        // An object's name, that of the reference to it, and what the server can.
        let (object, [b' ', more @ ..]) = text.split_at_checked(SHA1_DIGITS)? else { return None };
        let end = more.iter().position(|byte| *byte == 0)?;
        if !object.iter().all(u8::is_ascii_hexdigit) || !is_printable(&more[..end]) {
            return None;
        }
        (Grade::Confirmed, "reference", &more[..end])
    };
    details.set_text(field, shown.trim_ascii_end());
    let reason = "the answer of a Git server: length, and what there is or why not";
    Some(Identification::new(Verdict::Git, grade, reason).with(details))
}

/// Digits of an object's name.
const SHA1_DIGITS: usize = 40;

/// The greeting of rsync, which both sides send, and what a server says at the end.
pub(crate) fn rsync(payload: &Payload<'_>) -> Option<Identification> {
    if let Some(error) = payload.bytes.strip_prefix(b"@ERROR: ") {
        let mut details = Details::default();
        details.set_text("error", crate::reader::first_line(error));
        let reason = "an error of an rsync server";
        return Some(Identification::consistent(Verdict::Rsync, reason).with(details));
    }
    if payload.bytes.starts_with(b"@RSYNCD: EXIT\n") || payload.bytes == b"@RSYNCD: OK\n" {
        let reason = "the end of a list or of a login of rsync";
        return Some(Identification::confirmed(Verdict::Rsync, reason));
    }
    let line = crate::reader::first_line(payload.bytes.strip_prefix(b"@RSYNCD: ")?);
    let version = line.split(|byte| *byte == b' ').next()?;
    if !version.first()?.is_ascii_digit() {
        return None;
    }
    let mut details = Details::default();
    details.set_text("version", version);
    Some(Identification::confirmed(Verdict::Rsync, "the greeting of rsync").with(details))
}
