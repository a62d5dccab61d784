//! Secrets in a text: values of names, credentials in URLs, and keys that have a form of their own.

use std::borrow::Cow;

use super::{
    mask::MASK,
    name::{is_name_byte, is_secret_name},
};

/// How keys begin that are recognised by themselves, and how many characters they have at least
/// behind that.
const KEY_FORMS: [(&str, usize); 27] = [
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
    ("rk_live_", 10),
    ("pypi-", 30),
    ("ya29.", 20),
    // OpenAI, Hugging Face, DigitalOcean, SendGrid, Vault, Slack, Shopify.
    ("sk-proj-", 20),
    ("hf_", 30),
    ("dop_v1_", 20),
    ("SG.", 30),
    ("hvs.", 20),
    ("xoxa-", 10),
    ("xoxs-", 10),
    ("shpat_", 20),
    // A JSON Web Token.
    ("eyJ", 20),
];

/// What names a token behind it, RFC 6750 §2.1.
const BEARER: &str = "Bearer ";

/// Characters that such a token has at least: shorter ones are words.
const SHORTEST_BEARER: usize = 12;

/// What is followed by `:` and an address without a password.
const BEFORE_ADDRESSES: [&str; 16] = [
    "mailto", "sip", "sips", "xmpp", "acct", "npm", "ssh", "git", "from", "to", "cc", "bcc",
    "mail", "email", "user", "owner",
];

/// The text with what looks like a secret masked.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    let may_have_value = text.bytes().any(|byte| matches!(byte, b'=' | b':'));
    if !may_have_value && !has_key(text) && !text.contains(BEARER) {
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
                .or_else(|| value_of_name(text, at))
                .or_else(|| oracle_credential(text, at))
                .or_else(|| bare_credential(text, at)),
            b'B' => bearer(text, at),
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

/// The secret in `user:secret@host`, without a scheme; `at` is the colon.
fn bare_credential(text: &str, at: usize) -> Option<Secret> {
    let rest = text[at..].strip_prefix(':')?;
    let user_len = text[..at].bytes().rev().take_while(|byte| is_name_byte(*byte)).count();
    let (before, user) = text[..at].split_at(at - user_len);
    // What is before it may be a flag; a second colon is none of a name and its password.
    let begins =
        before.bytes().next_back().is_none_or(|byte| byte <= b' ' || b"'\"=,(".contains(&byte));
    let is_scheme = BEFORE_ADDRESSES.iter().any(|name| name.eq_ignore_ascii_case(user));
    // Numbers are a time, or an address with a port.
    if !begins || is_scheme || !user.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let is_end = |byte: u8| byte <= b' ' || b"/?#'\"<>,;()".contains(&byte);
    let authority = &rest[..rest.bytes().position(is_end).unwrap_or(rest.len())];
    let len = authority.rfind('@')?;
    let host = &authority[len + 1..];
    let is_host =
        host.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'[')
            || host.bytes().filter(|byte| *byte == b'.').count() == 3;
    // Behind the name of a secret all is masked, as its value is.
    let masked_len = if is_secret_name(user) { authority.len() } else { len };
    let secret = Secret { start: at + 1, end: at + 1 + masked_len };
    // `image:tag@sha256:…` is no host.
    let is_digest = host.starts_with("sha256:") || host.starts_with("sha512:");
    (len > 0 && is_host && !is_digest && !is_masked(text, &secret)).then_some(secret)
}

/// The secret in `jdbc:oracle:thin:user/secret@host`; `at` is the last of these colons.
fn oracle_credential(text: &str, at: usize) -> Option<Secret> {
    if !(text[..at].ends_with("oracle:thin") || text[..at].ends_with("oracle:oci")) {
        return None;
    }
    let rest = &text[at + 1..];
    let end = rest.find('@')?;
    let slash = rest[..end].find('/')?;
    let secret = Secret { start: at + 2 + slash, end: at + 1 + end };
    (secret.start < secret.end && !is_masked(text, &secret)).then_some(secret)
}

/// The token behind `Bearer`.
fn bearer(text: &str, at: usize) -> Option<Secret> {
    let rest = text[at..].strip_prefix(BEARER)?;
    let is_token = |byte: &u8| is_name_byte(*byte) || b"~+/=".contains(byte);
    let len = rest.bytes().take_while(is_token).count();
    let start = at + BEARER.len();
    (len >= SHORTEST_BEARER).then_some(Secret { start, end: start + len })
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
            ("/x;jsessionid=0123ABCD", "/x;jsessionid=***"),
            ("/x;jsessionid=0123ABCD.node1;v=1", "/x;jsessionid=***;v=1"),
            ("me:hunter2@host.example:80", "me:***@host.example:80"),
            ("me:hunter2@10.0.0.1", "me:***@10.0.0.1"),
            ("me:hun:t@er2@host", "me:***@host"),
            ("host: me@host", "host: me@host"),
            ("nginx:1.25@sha256:0123", "nginx:1.25@sha256:0123"),
            ("mailto:me@host", "mailto:me@host"),
            ("at 12:30@noon, a:2@3", "at 12:30@noon, a:2@3"),
            ("Bearer abcdef0123456789", "Bearer ***"),
            ("Bearer of good news", "Bearer of good news"),
            ("hvs.0123456789abcdefghijkl", "hvs.***"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[2001:db8::1", "http://[2001:db8::1"),
            ("redis://me:cut-of", "redis://me:***"),
            ("key AKIAIOSFODNN7EXAMPLE here", "key AKIA*** here"),
            ("ghp_0123456789abcdefghij0123", "ghp_***"),
            ("token=", "token="),
            ("token=***", "token=***"),
            ("token=ä&x", "token=***&x"),
            ("token:&@token", "token:***"),
            ("nothing", "nothing"),
            ("a:b=c", "a:b=c"),
        ] {
            assert_eq!(mask_text(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn masking_twice_changes_nothing(text in r#"(token|pass|Bearer |[a-z:/@="&;. ä]){0,24}"#) {
            let once = mask_text(&text).into_owned();
            prop_assert_eq!(mask_text(&once), &*once);
        }

        #[test]
        fn no_password_before_a_host_remains(
            user in "[a-z][a-z0-9_.-]{0,8}",
            password in "[0-9A-Z$!%^*_+:@-]{3,16}",
            host in "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,4})?(:[0-9]{2,5})?",
            before in "(GET |curl -x |http_proxy=|)",
        ) {
            prop_assume!(!BEFORE_ADDRESSES.contains(&&*user) && !is_secret_name(&user));
            prop_assume!(!user.ends_with("sip") && !user.ends_with("sips"));
            let text = format!("{before}{user}:{password}@{host}");
            let masked = mask_text(&text).into_owned();
            prop_assert!(!masked.contains(&password), "{}", masked);
            prop_assert!(masked.ends_with(&host), "{}", masked);
        }

        #[test]
        fn a_name_without_a_password_remains(
            user in "[a-z][a-z0-9_.-]{0,8}",
            host in "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,4})?",
            port in "(:[0-9]{2,5})?",
            path in "(/[a-z]{0,6})?",
        ) {
            let text = format!("ssh {user}@{host}{port}{path}");
            prop_assert_eq!(mask_text(&text), &*text);
        }

        #[test]
        fn any_text_can_be_masked(text: String) {
            mask_text(&text);
        }
    }
}
