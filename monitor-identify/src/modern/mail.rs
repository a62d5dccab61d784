//! Servers that greet with `220`, and those who answer them: SMTP and FTP.

use monitor_common::flow::Protocol;

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{contains, first_line, is_printable},
};

const MAIL_WORDS: [&[u8]; 6] = [b"smtp", b"postfix", b"exim", b"sendmail", b"mail", b"haraka"];
const FTP_WORDS: [&[u8]; 3] = [b"ftp", b"filezilla", b"file transfer"];

/// RFC 5321 §4.2.
pub(crate) fn smtp(payload: &Payload<'_>) -> Option<Identification> {
    let line = line(payload)?;
    if let Some(greeting) = greeting(line) {
        let text = greeting.to_ascii_lowercase();
        let is_mail = MAIL_WORDS.into_iter().any(|word| contains(&text, word));
        let is_ftp = FTP_WORDS.into_iter().any(|word| contains(&text, word));
        return (is_mail && !is_ftp).then(|| {
            said(
                Verdict::Smtp,
                Grade::Confirmed,
                "the greeting of a mail server",
                "greeting",
                greeting,
            )
        });
    }
    let name = line.strip_prefix(b"EHLO ").or_else(|| line.strip_prefix(b"HELO "))?;
    // Other protocols have a HELO as well.
    let grade = if line[0] == b'E' { Grade::Confirmed } else { Grade::Consistent };
    Some(said(Verdict::Smtp, grade, "a mail client that says its name", "name", name))
}

/// RFC 959 §4.2.
pub(crate) fn ftp(payload: &Payload<'_>) -> Option<Identification> {
    let line = line(payload)?;
    if let Some(greeting) = greeting(line) {
        let text = greeting.to_ascii_lowercase();
        let is_ftp = FTP_WORDS.into_iter().any(|word| contains(&text, word));
        let (grade, reason) = if is_ftp {
            (Grade::Confirmed, "the greeting of an FTP server")
        } else {
            (Grade::Suspect, "a greeting as FTP and mail servers have, which names neither")
        };
        return Some(said(Verdict::Ftp, grade, reason, "greeting", greeting));
    }
    let user = line.strip_prefix(b"USER ")?;
    Some(said(Verdict::Ftp, Grade::Consistent, "an FTP client that says its user", "user", user))
}

fn line<'a>(payload: &Payload<'a>) -> Option<&'a [u8]> {
    if !matches!(payload.bytes.first()?, b'2' | b'E' | b'H' | b'U') {
        return None;
    }
    let line = first_line(payload.bytes);
    let is_line = line.len() > 4 && line.len() < payload.bytes.len() && is_printable(line);
    (is_line && payload.may_be(Protocol::Tcp)).then_some(line)
}

fn greeting(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"220 ").or_else(|| line.strip_prefix(b"220-"))
}

fn said(
    verdict: Verdict,
    grade: Grade,
    reason: &'static str,
    name: &'static str,
    text: &[u8],
) -> Identification {
    let mut details = Details::default();
    details.set_text(name, text);
    Identification::new(verdict, grade, reason).with(details)
}
