//! Mail servers, FTP servers, and their clients: SMTP, FTP, POP3, IMAP and NNTP.

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{first_line, starts_with_ignoring_case as begins},
};

const MAIL_WORDS: [&[u8]; 7] =
    [b"smtp", b"postfix", b"exim", b"sendmail", b"mail", b"haraka", b"mta"];
const FTP_WORDS: [&[u8]; 5] = [b"ftp", b"filezilla", b"file transfer", b"proftpd", b"serv-u"];

const SMTP: u16 = 25;
const SUBMISSION: u16 = 587;
const FTP: u16 = 21;
const POP3: u16 = 110;
const IMAP: u16 = 143;

/// RFC 5321 §4.
pub(crate) fn smtp(payload: &Payload<'_>) -> Option<Identification> {
    let line = line(payload)?;
    if let Some(greeting) = reply(line, b"220")
        && is_of_mail(greeting)
        && !names(greeting, &FTP_WORDS)
    {
        let reason = "the greeting of a mail server";
        return Some(said(Verdict::Smtp, Grade::Confirmed, reason, ("greeting", greeting)));
    }
    if let Some(text) = reply(line, b"250").filter(|_| extensions(payload.bytes)) {
        let reason = "the answer of a mail server to EHLO, with its extensions";
        return Some(said(Verdict::Smtp, Grade::Confirmed, reason, ("answer", text)));
    }
    if let Some(text) = reply(line, b"554").or_else(|| reply(line, b"421"))
        && is_of_mail(text)
        && !names(text, &FTP_WORDS)
    {
        let reason = "the refusal of a mail server";
        return Some(said(Verdict::Smtp, Grade::Consistent, reason, ("answer", text)));
    }
    // RFC 3463: a code of three parts behind one of three digits, which begins alike.
    if let [
        kind @ (b'2' | b'4' | b'5'),
        b'0'..=b'5',
        b'0'..=b'9',
        b' ' | b'-',
        again,
        b'.',
        rest @ ..,
    ] = line
        && kind == again
        && matches!(rest, [b'0'..=b'7', b'.', b'0'..=b'9', ..])
    {
        let reason = "a reply of a mail server with an enhanced code";
        return Some(said(Verdict::Smtp, Grade::Consistent, reason, ("answer", &line[4..])));
    }
    if begins(line, b"EHLO ") || begins(line, b"HELO ") || begins(line, b"LHLO ") {
        // Other protocols have a HELO as well.
        let is_own = !matches!(line[0], b'H' | b'h');
        let grade = if is_own { Grade::Confirmed } else { Grade::Consistent };
        let reason = "a mail client that gives its name";
        return Some(said(Verdict::Smtp, grade, reason, ("name", &line[5..])));
    }
    let is_home = payload.has_port(SMTP) || payload.has_port(SUBMISSION);
    if is_home && let [b'2'..=b'5', b'0'..=b'5', b'0'..=b'9', b' ' | b'-', text @ ..] = line {
        let reason = "a reply of a mail server, on a port of mail servers";
        return Some(said(Verdict::Smtp, Grade::Consistent, reason, ("answer", text)));
    }
    let is_command =
        [&b"EHLO"[..], b"HELO", b"QUIT", b"NOOP", b"RSET", b"DATA", b"STARTTLS", b"VRFY"]
            .into_iter()
            .any(|command| begins(line, command));
    if is_home && (is_command || begins(line, b"AUTH ")) {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or(line);
        let reason = "a command of mail clients, on a port of mail servers";
        return Some(said(Verdict::Smtp, Grade::Consistent, reason, ("command", word)));
    }
    for (command, field) in [(&b"MAIL FROM:"[..], "sender"), (b"RCPT TO:", "recipient")] {
        if begins(line, command) {
            let reason = "a command of mail clients with an address";
            let text = line[command.len()..].trim_ascii();
            return Some(said(Verdict::Smtp, Grade::Confirmed, reason, (field, text)));
        }
    }
    None
}

fn extensions(bytes: &[u8]) -> bool {
    const KEYWORDS: [&[u8]; 7] = [
        b"PIPELINING",
        b"SIZE",
        b"STARTTLS",
        b"8BITMIME",
        b"ENHANCEDSTATUSCODES",
        b"AUTH ",
        b"HELP",
    ];
    let start = &bytes[..bytes.len().min(512)];
    start.split(|byte| *byte == b'\n').skip(1).any(|line| {
        let keyword = line.get(4..).unwrap_or_default();
        line.starts_with(b"250") && KEYWORDS.into_iter().any(|known| keyword.starts_with(known))
    })
}

/// RFC 959 §4.
pub(crate) fn ftp(payload: &Payload<'_>) -> Option<Identification> {
    let line = line(payload)?;
    if let Some(greeting) = reply(line, b"220") {
        let (grade, reason) = if names(greeting, &FTP_WORDS) {
            (Grade::Confirmed, "the greeting of an FTP server")
        } else {
            (Grade::Suspect, "a greeting as FTP and mail servers have, which names neither")
        };
        return Some(said(Verdict::Ftp, grade, reason, ("greeting", greeting)));
    }
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if begins(line, b"USER ") && words.count() == 2 {
        let user = &line[5..];
        let reason = "an FTP client that gives its user; POP3 has the same command";
        return Some(said(Verdict::Ftp, Grade::Consistent, reason, ("user", user)));
    }
    if let Some(found) = ftp_reply(line, payload.has_port(FTP)) {
        return Some(found);
    }
    let is_home = payload.has_port(FTP)
        && ["PASS ", "CWD ", "RETR ", "STOR ", "LIST", "NLST", "QUIT", "MKD ", "DELE "]
            .into_iter()
            .any(|command| begins(line, command.as_bytes()));
    let is_command = is_home
        || begins(line, b"PORT ") && line.iter().filter(|byte| **byte == b',').count() == 5
        || begins(line, b"AUTH TLS")
        || begins(line, b"AUTH SSL")
        || matches!(line, b"SYST" | b"FEAT" | b"PASV" | b"EPSV" | b"TYPE I" | b"TYPE A");
    is_command.then(|| {
        let reason = "a command of FTP clients";
        said(Verdict::Ftp, Grade::Consistent, reason, ("command", line))
    })
}

/// A reply in the middle of a session: by its words, or by its code on the port of FTP.
fn ftp_reply(line: &[u8], is_home: bool) -> Option<Identification> {
    const CODES: [&[u8]; 12] = [
        b"125", b"150", b"200", b"226", b"227", b"229", b"230", b"250", b"257", b"331", b"530",
        b"550",
    ];
    let code = CODES.into_iter().find(|code| reply(line, code).is_some())?;
    let text = reply(line, code)?;
    let is_own = match code {
        b"227" => text.starts_with(b"Entering Passive Mode"),
        b"229" => text.starts_with(b"Entering Extended Passive Mode"),
        b"331" => names(text, &[b"password", b"login", b"anonymous"]),
        b"230" => names(text, &[b"logged in", b"login success", b"login ok", b"access granted"]),
        b"530" => names(text, &[b"login incorrect", b"not logged in", b"please login"]),
        b"200" => text.starts_with(b"Type set to "),
        _ => false,
    };
    if !is_own && !is_home {
        return None;
    }
    let grade = if matches!(code, b"227" | b"229") && is_own {
        Grade::Confirmed
    } else {
        Grade::Consistent
    };
    Some(said(Verdict::Ftp, grade, "a reply of an FTP server", ("reply", line)))
}

/// RFC 1939 and RFC 2449.
pub(crate) fn pop3(payload: &Payload<'_>) -> Option<Identification> {
    const SERVER_WORDS: [&[u8]; 12] = [
        b"pop3",
        b"pop ",
        b"popper",
        b"dovecot",
        b"capabilit",
        b"mail",
        b"ready",
        b"maildrop",
        b"message",
        b"logged in",
        b"welcome",
        b"hello",
    ];
    let line = line(payload)?;
    let home = payload.has_port(POP3);
    if let Some(text) = line.strip_prefix(b"+OK ") {
        let is_stamp = text.contains(&b'<') && text.contains(&b'@');
        let grade =
            if names(text, &SERVER_WORDS) || is_stamp { Grade::Confirmed } else { Grade::Suspect };
        let reason = "a positive answer of POP3";
        return Some(said(Verdict::Pop3, grade, reason, ("answer", text)));
    }
    if home && line.starts_with(b"-ERR ") {
        let reason = "a negative answer, on the port of POP3";
        return Some(said(Verdict::Pop3, Grade::Consistent, reason, ("answer", &line[5..])));
    }
    if home && begins(line, b"USER ") {
        let reason = "a POP3 client that gives its user";
        return Some(said(Verdict::Pop3, Grade::Consistent, reason, ("user", &line[5..])));
    }
    let is_login = begins(line, b"APOP ") && line.len() > 5 + 32;
    let is_command = line.eq_ignore_ascii_case(b"CAPA")
        || line.eq_ignore_ascii_case(b"STLS")
        || line.eq_ignore_ascii_case(b"UIDL")
        || (home && (begins(line, b"AUTH ") || begins(line, b"RETR ") || begins(line, b"PASS ")))
        || (home && matches!(line, b"STAT" | b"LIST" | b"QUIT" | b"AUTH" | b"NOOP"));
    (is_login || is_command).then(|| {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or(line);
        let reason = "a command of POP3 clients";
        said(Verdict::Pop3, Grade::Consistent, reason, ("command", word))
    })
}

/// RFC 9051: lines of a server begin with an asterisk, those of a client with a tag.
pub(crate) fn imap(payload: &Payload<'_>) -> Option<Identification> {
    const COMMANDS: [&[u8]; 16] = [
        b"CAPABILITY",
        b"LOGIN ",
        b"STARTTLS",
        b"AUTHENTICATE ",
        b"SELECT ",
        b"EXAMINE ",
        b"LIST ",
        b"LSUB ",
        b"NOOP",
        b"LOGOUT",
        b"ID ",
        b"FETCH ",
        b"UID ",
        b"IDLE",
        b"ENABLE ",
        b"NAMESPACE",
    ];
    let line = line(payload)?;
    if let Some(text) = line.strip_prefix(b"* ") {
        let is_own = names(text, &[b"imap"]) || text.starts_with(b"CAPABILITY ");
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_data = digits > 0
            && [&b" EXISTS"[..], b" RECENT", b" EXPUNGE", b" FETCH ("]
                .into_iter()
                .any(|word| text[digits..].starts_with(word));
        let is_status = is_data
            || [&b"OK "[..], b"PREAUTH ", b"BYE ", b"NO ", b"BAD "]
                .into_iter()
                .any(|word| text.starts_with(word));
        if !is_own && !is_status {
            return None;
        }
        let grade = if is_own { Grade::Confirmed } else { Grade::Consistent };
        let reason = "a line of an IMAP server";
        return Some(said(Verdict::Imap, grade, reason, ("answer", text)));
    }
    let (tag, command) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    let command = command.get(1..)?;
    let home = payload.has_port(IMAP);
    // Three digits are the code of a reply elsewhere: `530 Login incorrect`.
    let is_code = matches!(tag, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9']) && !home;
    let is_tag = matches!(tag.len(), 1..=12)
        && tag.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.')
        && (tag.iter().any(u8::is_ascii_digit) || tag == b".")
        && !is_code;
    // `A1 OK LOGIN completed`.
    let is_result =
        [&b"OK "[..], b"NO ", b"BAD "].into_iter().any(|word| command.starts_with(word));
    if is_result && is_tag && (home || tag.iter().any(u8::is_ascii_alphabetic)) {
        let is_own = names(command, &[b"completed", b"imap"]) || command.starts_with(b"OK [");
        let grade = if is_own { Grade::Consistent } else { Grade::Suspect };
        let reason = "a tag and the result of a command, as IMAP servers have it";
        return Some(said(Verdict::Imap, grade, reason, ("answer", command)));
    }
    let known = COMMANDS.into_iter().find(|known| {
        begins(command, known) && (known.ends_with(b" ") || command.len() == known.len())
    })?;
    is_tag.then(|| {
        let reason = "a tag and a command of IMAP";
        let name = known.trim_ascii_end();
        let mut found = said(Verdict::Imap, Grade::Confirmed, reason, ("command", name));
        if known == b"LOGIN " {
            let user = command[known.len()..].split(|byte| *byte == b' ').next();
            found.details.set_some_text("user", user);
        }
        found
    })
}

/// RFC 3977.
pub(crate) fn nntp(payload: &Payload<'_>) -> Option<Identification> {
    const NEWS_WORDS: [&[u8]; 5] = [b"nntp", b"news", b"inn ", b"nnrp", b"usenet"];
    let line = line(payload)?;
    if let Some(greeting) = reply(line, b"200").or_else(|| reply(line, b"201")) {
        return names(greeting, &NEWS_WORDS).then(|| {
            let reason = "the greeting of a news server";
            said(Verdict::Nntp, Grade::Confirmed, reason, ("greeting", greeting))
        });
    }
    let is_own = begins(line, b"MODE READER")
        || begins(line, b"AUTHINFO USER ")
        || begins(line, b"XOVER ")
        || begins(line, b"NEWGROUPS ")
        || begins(line, b"NEWNEWS ")
        || begins(line, b"LIST ACTIVE")
        || begins(line, b"LIST NEWSGROUPS")
        || begins(line, b"IHAVE <")
        || line == b"CAPABILITIES";
    let is_shared = (begins(line, b"GROUP ") && line.contains(&b'.') && !line[6..].contains(&b' '))
        || begins(line, b"ARTICLE <")
        || begins(line, b"BODY <");
    if !is_own && !is_shared {
        return None;
    }
    let grade = if is_own { Grade::Confirmed } else { Grade::Consistent };
    Some(said(Verdict::Nntp, grade, "a command of news clients", ("command", line)))
}

/// The first line, which must be there up to its end and have no control characters. Greetings that
/// are longer than a segment have no end in it.
fn line<'a>(payload: &Payload<'a>) -> Option<&'a [u8]> {
    let line = first_line(payload.bytes);
    let has_end =
        line.len() < payload.bytes.len() || line.starts_with(b"220 ") || begins(line, b"EHLO ");
    let is_text = || line.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f);
    (line.len() >= 4 && has_end && is_text()).then_some(line)
}

/// The text behind a code, in the last line of a reply or another one.
fn reply<'a>(line: &'a [u8], code: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(code)?;
    rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"-"))
}

/// Whether a greeting is that of a mail server: by a word, or by the name of its host.
fn is_of_mail(greeting: &[u8]) -> bool {
    names(greeting, &MAIL_WORDS) || begins(greeting, b"mx.") || begins(greeting, b"mx1")
}

/// Whether text has one of these words, which are in lower case.
fn names(text: &[u8], words: &[&[u8]]) -> bool {
    let text = &text[..text.len().min(200)];
    words
        .iter()
        .any(|word| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

fn said(
    verdict: Verdict,
    grade: Grade,
    reason: &'static str,
    (name, text): (&'static str, &[u8]),
) -> Identification {
    let mut details = Details::default();
    if name == "command" {
        details.set_command(name, text);
    } else {
        details.set_text(name, text);
    }
    Identification::new(verdict, grade, reason).with(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_letters_of_either_case() {
        assert!(names(b"mx1.example.net ESMTP Postfix", &MAIL_WORDS));
        assert!(!names(b"ready", &MAIL_WORDS));
    }
}
