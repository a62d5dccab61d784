//! Secrets in a text: values of names, credentials in URLs, and keys that have a form of their own.

use std::borrow::Cow;

use super::{
    mask::MASK,
    name::{is_name_byte, is_secret_name},
};

/// How keys begin that are recognised by themselves, and how many characters they have at least
/// behind that.
const KEY_FORMS: [(&str, usize); 16] = [
    // AWS: of a user, and of a session.
    ("AKIA", 16),
    ("ASIA", 16),
    // GitHub and GitLab.
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    // Slack.
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xapp-", 10),
    // Google, Stripe, npm.
    ("AIza", 30),
    ("sk_live_", 10),
    ("npm_", 30),
    // A JSON Web Token.
    ("eyJ", 20),
];

/// The text with what looks like a secret masked.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'=' | b':')) && !has_key(text) {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(secret) = next_secret(rest) {
        masked.push_str(&rest[..secret.start]);
        masked.push_str(MASK);
        rest = &rest[secret.end..];
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Where a secret is.
struct Secret {
    start: usize,
    end: usize,
}

/// The first secret in a text.
fn next_secret(text: &str) -> Option<Secret> {
    for (at, byte) in text.bytes().enumerate() {
        let found = match byte {
            b'=' | b':' => url_credential(text, at)
                .or_else(|| sip_credential(text, at))
                .or_else(|| value_of_name(text, at)),
            _ if at == 0 || !is_name_byte(text.as_bytes()[at - 1]) => key(text, at),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The secret in `scheme://user:secret@host` or `scheme://secret@host`; `at` is the first colon.
fn url_credential(text: &str, at: usize) -> Option<Secret> {
    let rest = text[at..].strip_prefix("://")?;
    let start = at + 3;
    let is_end = |byte: u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'') || byte <= b' ';
    let authority = &rest[..rest.bytes().position(is_end).unwrap_or(rest.len())];
    let end = authority.rfind('@');
    match (authority.find(':'), end) {
        (Some(colon), Some(end)) if colon < end => {
            Some(Secret { start: start + colon + 1, end: start + end })
                .filter(|secret| !is_masked(text, secret))
        }
        // A name is no secret, a token is.
        (_, Some(end)) if end >= 20 => Some(Secret { start, end: start + end }),
        // A text that was cut within the secret: what follows is no port.
        (Some(colon), None) if authority.len() == rest.len() => {
            let port = &authority[colon + 1..];
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            let is_address = authority.starts_with('[');
            let secret = Secret { start: start + colon + 1, end: text.len() };
            (!is_port && !is_address && !is_masked(text, &secret)).then_some(secret)
        }
        _ => None,
    }
}

/// The secret in `sip:user:secret@host`, RFC 3261 §19.1.1; `at` is the first colon.
fn sip_credential(text: &str, at: usize) -> Option<Secret> {
    let scheme = &text[..at];
    if !(scheme.ends_with("sip") || scheme.ends_with("sips")) {
        return None;
    }
    let rest = &text[at + 1..];
    let is_end = |byte: u8| matches!(byte, b'>' | b';' | b'?') || byte <= b' ';
    let address = &rest[..rest.bytes().position(is_end).unwrap_or(rest.len())];
    let user_info = &address[..address.find('@')?];
    let colon = user_info.find(':')?;
    let secret = Secret { start: at + 2 + colon, end: at + 1 + user_info.len() };
    (!is_masked(text, &secret)).then_some(secret)
}

/// The value behind `name=`, `name:` or `"name":`.
fn value_of_name(text: &str, at: usize) -> Option<Secret> {
    let before = text[..at].trim_end_matches(['"', '\'']);
    let is_name = |byte: &u8| is_name_byte(*byte);
    let name_len = before.bytes().rev().take_while(is_name).count();
    let name = &before[before.len() - name_len..];
    if !is_secret_name(name) {
        return None;
    }
    let behind = &text[at + 1..];
    let value = behind.trim_start_matches([' ', '\t']);
    let (value, quote) = match value.as_bytes().first() {
        Some(quote @ (b'"' | b'\'')) => (&value[1..], Some(*quote)),
        _ => (value, None),
    };
    let start = text.len() - value.len();
    let is_header = text.as_bytes()[at] == b':' && is_whole_line(name);
    let is_end = |byte: u8| match quote {
        Some(quote) => byte == quote,
        None if is_header => matches!(byte, b'\r' | b'\n'),
        None => byte <= b' ' || matches!(byte, b'&' | b';' | b',' | b'"' | b'\'' | b')' | b'}'),
    };
    let len = value.bytes().position(is_end).unwrap_or(value.len());
    let secret = Secret { start, end: start + len };
    (len > 0 && !is_masked(text, &secret)).then_some(secret)
}

/// Header fields whose value has spaces.
fn is_whole_line(name: &str) -> bool {
    ["authorization", "cookie"].iter().any(|end| name.to_ascii_lowercase().ends_with(end))
}

/// A key of a known form.
fn key(text: &str, at: usize) -> Option<Secret> {
    let rest = text.get(at..)?;
    let (form, least) = KEY_FORMS.iter().find(|(form, _)| rest.starts_with(form))?;
    let body = rest[form.len()..].bytes().take_while(|byte| is_name_byte(*byte)).count();
    let start = at + form.len();
    (body >= *least).then_some(Secret { start, end: start + body })
}

fn has_key(text: &str) -> bool {
    KEY_FORMS.iter().any(|(form, _)| text.contains(form))
}

fn is_masked(text: &str, secret: &Secret) -> bool {
    &text[secret.start..secret.end] == MASK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn masks_values_and_keeps_the_rest() {
        for (text, expected) in [
            ("GET /health?token=abc&x=1", "GET /health?token=***&x=1"),
            ("password=hunter2", "password=***"),
            ("db.password = hunter2", "db.password = hunter2"),
            ("host=db user=me password=x dbname=y", "host=db user=me password=*** dbname=y"),
            (r#"{"user":"me","password":"a b","n":1}"#, r#"{"user":"me","password":"***","n":1}"#),
            (r#"{"api_key": "k"}"#, r#"{"api_key": "***"}"#),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            ("Cookie: a=b; c=d", "Cookie: ***"),
            ("X-Api-Key: abc", "X-Api-Key: ***"),
            ("pass:hunter2", "pass:***"),
            ("postgres://me:s3cr3t@db:5432/x", "postgres://me:***@db:5432/x"),
            ("https://me:a:b@c@host/", "https://me:***@host/"),
            ("https://ghs_0123456789abcdefghij@github.com/", "https://***@github.com/"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("sip:me:s3cr3t@host;x=y", "sip:me:***@host;x=y"),
            ("sip:me@host:5060", "sip:me@host:5060"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[2001:db8::1", "http://[2001:db8::1"),
            ("redis://me:cut-of", "redis://me:***"),
            ("key AKIAIOSFODNN7EXAMPLE here", "key AKIA*** here"),
            ("ghp_0123456789abcdefghij0123", "ghp_***"),
            ("token=", "token="),
            ("token=***", "token=***"),
            ("token=ä&x", "token=***&x"),
            ("nothing", "nothing"),
            ("a:b=c", "a:b=c"),
        ] {
            assert_eq!(mask_text(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn masking_twice_changes_nothing(text in r#"(token|pass|[a-z:/@="& ä]){0,24}"#) {
            let once = mask_text(&text).into_owned();
            prop_assert_eq!(mask_text(&once), &*once);
        }

        #[test]
        fn any_text_can_be_masked(text: String) {
            mask_text(&text);
        }
    }
}
