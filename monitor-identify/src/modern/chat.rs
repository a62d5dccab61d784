//! Chat: IRC and XMPP.

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{contains, find, first_line, is_plain_text},
};

/// Internet Relay Chat, RFC 2812; bots are steered by it.
pub(crate) fn irc(payload: &Payload<'_>) -> Option<Identification> {
    let line = first_line(payload.bytes);
    if line.len() == payload.bytes.len() && !payload.is_cut() {
        return None;
    }
    let (prefix, message) = match line.strip_prefix(b":") {
        Some(prefixed) => {
            let space = prefixed.iter().position(|byte| *byte == b' ')?;
            (Some(&prefixed[..space]), &prefixed[space + 1..])
        }
        None => (None, line),
    };
    let mut words = message.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let command = words.next()?;
    let first = words.next();
    let grade = match prefix {
        Some(_) => grade_of_server(command, first)?,
        None => grade_of_client(command, first, words.clone().count(), payload.bytes)?,
    };
    // Colours, and the marks of messages between clients (CTCP).
    let is_text =
        |byte: &u8| *byte >= 0x20 || byte.is_ascii_whitespace() || matches!(byte, 1..=3 | 15 | 22);
    if !payload.bytes.iter().take(64).all(is_text) {
        return None;
    }
    let mut details = Details::default();
    details.set_text("command", command);
    details.set_some_text("server", prefix);
    match command {
        b"NICK" => details.set_some_text("nick", first),
        b"USER" => details.set_some_text("user", first),
        b"JOIN" | b"PRIVMSG" => details.set_some_text("target", first),
        _ => {}
    }
    if let Some(channel) = joined(payload.bytes) {
        details.set_text("channel", channel);
    }
    let reason = "a message of IRC: a command with its parameters";
    Some(Identification::new(Verdict::Irc, grade, reason).with(details))
}

/// The channel of a `JOIN` in a later line.
fn joined(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').skip(1);
    let channel = lines.find_map(|line| line.strip_prefix(b"JOIN "))?;
    Some(channel.trim_ascii_end()).filter(|channel| channel.starts_with(b"#"))
}

fn grade_of_server(command: &[u8], first: Option<&[u8]>) -> Option<Grade> {
    let is_numeric = command.len() == 3 && command.iter().all(u8::is_ascii_digit);
    let is_word = matches!(
        command,
        b"NOTICE"
            | b"PRIVMSG"
            | b"JOIN"
            | b"PART"
            | b"QUIT"
            | b"MODE"
            | b"NICK"
            | b"TOPIC"
            | b"KICK"
            | b"PONG"
            | b"CAP"
            | b"AUTHENTICATE"
    );
    (is_word || (is_numeric && first.is_some())).then_some(Grade::Confirmed)
}

fn grade_of_client(
    command: &[u8],
    first: Option<&[u8]>,
    more: usize,
    bytes: &[u8],
) -> Option<Grade> {
    let is_nick = |name: &[u8]| {
        name.len() <= 32
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_[]\\`^{}|:".contains(byte))
    };
    let has = |word: &[u8]| contains(&bytes[..bytes.len().min(512)], word);
    match (command, first) {
        // POP3 and FTP have one parameter.
        (b"USER", Some(_)) if more >= 3 || has(b"\nNICK ") => Some(Grade::Confirmed),
        (b"NICK", Some(nick)) if is_nick(nick) && more == 0 => {
            let is_login = has(b"\nUSER ") || has(b"\nJOIN ");
            Some(if is_login { Grade::Confirmed } else { Grade::Consistent })
        }
        (b"CAP", Some(b"LS" | b"REQ" | b"END" | b"LIST")) => Some(Grade::Confirmed),
        (b"JOIN", Some([b'#' | b'&' | b'+' | b'!', ..])) => Some(Grade::Confirmed),
        (b"PRIVMSG" | b"NOTICE", Some(_)) if has(b" :") => Some(Grade::Confirmed),
        (b"PING" | b"PONG", Some([b':', ..])) => Some(Grade::Consistent),
        (b"PASS", Some(_)) if has(b"\nNICK ") || has(b"\nUSER ") => Some(Grade::Confirmed),
        (b"ERROR", Some([b':', ..])) => Some(Grade::Consistent),
        (
            b"MODE" | b"PART" | b"NAMES" | b"WHO" | b"TOPIC" | b"KICK",
            Some([b'#' | b'&', _, ..]),
        ) => Some(Grade::Consistent),
        _ => None,
    }
}

/// Extensible Messaging and Presence Protocol, RFC 6120: a stream of XML with names of its own.
pub(crate) fn xmpp(payload: &Payload<'_>) -> Option<Identification> {
    let start = &payload.bytes[..payload.bytes.len().min(512)];
    let text = start.trim_ascii_start();
    let stanza = ["<message", "<presence", "<iq"]
        .into_iter()
        .find(|name| text.strip_prefix(name.as_bytes()).is_some_and(is_name_end));
    let is_stream = text.starts_with(b"<stream:")
        || text.starts_with(b"</stream:stream>")
        || (text.starts_with(b"<?xml") && contains(text, b"<stream:stream"))
        || (text.starts_with(b"<open") && contains(text, b"urn:ietf:params:xml:ns:xmpp-framing"))
        || (text.starts_with(b"<") && contains(text, b"urn:ietf:params:xml:ns:xmpp-"));
    let has_name = |name: &[u8]| contains(text, name);
    let is_home = [5222, 5223, 5269].into_iter().any(|port| payload.has_port(port));
    let is_stanza = stanza.is_some()
        && (has_name(b"jabber:") || has_name(b" to=") || has_name(b" type=") || has_name(b" id="));
    let grade = if is_stream {
        Grade::Confirmed
    } else if is_stanza || (is_home && text.starts_with(b"<?xml ")) {
        Grade::Consistent
    } else {
        return None;
    };
    let mut details = Details::default();
    details.set_known("stanza", stanza.map(|name| &name[1..]));
    details.set_some_text("to", attribute(text, b" to="));
    details.set_some_text("from", attribute(text, b" from="));
    let reason = "XML with the elements of XMPP";
    Some(Identification::new(Verdict::Xmpp, grade, reason).with(details))
}

fn is_name_end(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| matches!(byte, b' ' | b'>' | b'/'))
}

/// The value of an attribute.
fn attribute<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = find(text, name)?;
    let (quote, rest) = text[at + name.len()..].split_first()?;
    let end = rest.iter().position(|byte| byte == quote)?;
    Some(&rest[..end]).filter(|value| is_plain_text(value))
}
