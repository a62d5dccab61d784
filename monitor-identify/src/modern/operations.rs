//! Monitoring and logs: syslog, NetFlow, Zabbix and Munin.

use crate::{
    Grade, Identification, Payload, Verdict,
    details::{Details, shown},
    reader::{Reader, first_line, is_printable},
};

/// RFC 5424 and RFC 3164: a priority in angle brackets, then a version or a date. On TCP perhaps
/// behind a length in digits, RFC 6587.
pub(crate) fn syslog(payload: &Payload<'_>) -> Option<Identification> {
    const HIGHEST_PRIORITY: u16 = 191;
    let bytes = payload.bytes;
    let digits = bytes.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let message = match bytes.get(digits) {
        Some(b' ') if digits > 0 => &bytes[digits + 1..],
        _ => bytes,
    };
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let (number, rest) = (&rest[..end], &rest[end + 1..]);
    let priority: u16 = str::from_utf8(number).ok()?.parse().ok()?;
    if priority > HIGHEST_PRIORITY || (number.len() > 1 && number[0] == b'0') {
        return None;
    }
    let text = &rest[..rest.len().min(64)];
    if text.len() < 4
        || !text.iter().all(|byte| *byte >= 0x20 || byte.is_ascii_whitespace() || *byte == 0)
    {
        return None;
    }
    let (format, grade) = if rest.starts_with(b"1 ") {
        ("RFC 5424", Grade::Confirmed)
    } else if has_date(rest) {
        ("RFC 3164", Grade::Confirmed)
    } else {
        ("text", Grade::Consistent)
    };
    let mut details = Details::default();
    const SEVERITIES: [&str; 8] =
        ["emergency", "alert", "critical", "error", "warning", "notice", "information", "debug"];
    const FACILITIES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
    details.set("format", format);
    details.set("facility", FACILITIES[usize::from(priority >> 3)]);
    details.set("severity", SEVERITIES[usize::from(priority & 7)]);
    let line = first_line(rest);
    details.set_some_content("message", line.split(|byte| *byte == 0).next());
    let reason = "a priority of syslog, and what must follow it";
    Some(Identification::new(Verdict::Syslog, grade, reason).with(details))
}

/// `Mmm dd`, perhaps behind a number that some senders put in front.
fn has_date(text: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
        b"Nov ", b"Dec ",
    ];
    let start = text.get(..24).unwrap_or(text);
    start.windows(4).any(|window| MONTHS.contains(&window))
}

/// NetFlow 1, 5, 7 and 9, and IPFIX (RFC 7011): sizes that follow from the number of records, or
/// sets that fill the message.
pub(crate) fn netflow(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let version = reader.be16()?;
    let count = usize::from(reader.be16()?);
    let records = |header: usize, record: usize| {
        (1..=50).contains(&count) && header + record * count == payload.wire_len
    };
    let (format, bits) = match version {
        1 if records(16, 52) => ("NetFlow 1", 16 + 16),
        5 if records(24, 48) => ("NetFlow 5", 16 + 16),
        7 if records(24, 52) => ("NetFlow 7", 16 + 16),
        // Some versions pad their records.
        7 if records(24, 56) => ("NetFlow 7", 16 + 12),
        9 if (1..=1000).contains(&count) => {
            reader.take(16)?;
            ("NetFlow 9", 16 + 4 + sets(reader, payload, 0)?)
        }
        10 if count == payload.wire_len => {
            reader.take(12)?;
            ("IPFIX", 16 + 14 + sets(reader, payload, 2)?)
        }
        _ => return None,
    };
    let reason = "an export of flows: a version, and sizes that add up to the payload";
    let found = Identification::graded(Verdict::Netflow, bits, reason)?;
    let mut details = Details::default();
    details.set("format", format);
    if version != 10 {
        details.set("records", count);
    }
    Some(found.with(details))
}

/// Bits of evidence in sets that fill the message: templates, whose numbers are `first` and the
/// next, or data of templates from 256 on.
fn sets(mut reader: Reader<'_>, payload: &Payload<'_>, first: u16) -> Option<u32> {
    const FIRST_DATA: u16 = 256;
    let mut bits = 0;
    while !reader.is_empty() {
        let id = reader.be16()?;
        let len = usize::from(reader.be16()?).checked_sub(4)?;
        let of_id = match id {
            _ if id == first || id == first + 1 => 14,
            FIRST_DATA..=2048 => 4,
            _ => return None,
        };
        bits += of_id + 6;
        if reader.take(len).is_none() {
            return (payload.is_cut() && len <= reader.rest().len() + payload.missing())
                .then_some(bits);
        }
    }
    (bits > 0).then_some(bits)
}

/// Zabbix: four letters, flags, and the size of what follows.
pub(crate) fn zabbix(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes.strip_prefix(b"ZBXD")?);
    let flags @ 1..=7 = reader.u8()? else { return None };
    let len = reader.le32()?;
    let _reserved = reader.le32()?;
    let mut details = Details::default();
    details.set("data_bytes", len);
    details.set("compressed", flags & 2 != 0);
    let data = reader.rest();
    let line = first_line(data);
    if flags & 2 == 0 && is_printable(line) {
        details.set_content("data", shown(line));
    }
    let reason = "the header of Zabbix: its letters and flags";
    Some(Identification::confirmed(Verdict::Zabbix, reason).with(details))
}

/// Munin: the greeting of a node, and the commands of a master.
pub(crate) fn munin(payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 4949;
    let line = first_line(payload.bytes);
    if line.len() == payload.bytes.len() {
        return None;
    }
    let mut details = Details::default();
    let (grade, reason) = if let Some(host) = line.strip_prefix(b"# munin node at ") {
        details.set_text("host", host);
        (Grade::Confirmed, "the greeting of a Munin node")
    } else if line == b"cap"
        || line.starts_with(b"cap multigraph")
        || line.starts_with(b"cap dirtyconfig")
    {
        (Grade::Confirmed, "the capabilities that a Munin master sends first")
    } else if payload.has_port(PORT)
        && (matches!(line, b"list" | b"nodes" | b"version" | b"quit")
            || line.starts_with(b"fetch ")
            || line.starts_with(b"config "))
    {
        (Grade::Consistent, "a command of a Munin master, on Munin's port")
    } else {
        return None;
    };
    details.set_text("line", line);
    Some(Identification::new(Verdict::Munin, grade, reason).with(details))
}
