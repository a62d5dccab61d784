//! What of a payload's details is shown to others.

use monitor_identify::{DetailKind, Details};
use serde_json::Value;

use super::{arguments::masked_script, text::mask_text};
use crate::config::PayloadDetails;

/// The details that the configuration allows. With [`PayloadDetails::Names`] addresses lose query,
/// fragment and credentials, commands their arguments, and what a person wrote is left out.
pub fn disclosed(details: &Details, level: PayloadDetails) -> Details {
    match level {
        PayloadDetails::None => Details::default(),
        PayloadDetails::Names => details.changed(|kind, value| match (kind, value) {
            (DetailKind::Content, _) => None,
            (DetailKind::Address, Value::String(text)) => Some(without_query(text).into()),
            (DetailKind::Command, Value::String(text)) => {
                text.split_whitespace().next().map(|command| mask_line(command).into())
            }
            (_, Value::String(text)) => Some(mask_line(text).into()),
            (_, other) => Some(other.clone()),
        }),
        PayloadDetails::Full => details.clone(),
    }
}

/// A line that may be a command.
fn mask_line(text: &str) -> String {
    masked_script(text).unwrap_or_else(|| text.to_owned())
}

/// An address up to its query or fragment, which is shown to have been there.
fn without_query(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(at) => format!("{}…", mask_text(&text[..=at])),
        None => mask_text(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use monitor_identify::{Payload, identify};

    use super::*;

    fn shown(payload: &[u8], level: PayloadDetails) -> String {
        let details = identify(&Payload::of(payload)).details;
        serde_json::to_string(&disclosed(&details, level)).expect("JSON")
    }

    #[test]
    fn names_are_shown_without_query_and_credentials() {
        let request = b"GET /health?token=hunter2 HTTP/1.1\r\nHost: x.example\r\n\
            Authorization: Basic aHVudGVyMg==\r\nCookie: session=hunter2\r\n\r\n";
        assert_eq!(
            shown(request, PayloadDetails::Names),
            r#"{"method":"GET","target":"/health?…","host":"x.example"}"#
        );
        assert_eq!(
            shown(request, PayloadDetails::Full),
            r#"{"method":"GET","target":"/health?token=hunter2","host":"x.example"}"#
        );
        assert_eq!(shown(request, PayloadDetails::None), "{}");
    }

    #[test]
    fn no_secret_is_shown_as_a_name() {
        let payloads: [&[u8]; 15] = [
            b"GET /a;jsessionid=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: me:hunter2@x.example\r\n\r\n",
            b"GET /;PHPSESSID=hunter2/x HTTP/1.1\r\nHost: x\r\nUser-Agent: a me:hunter2@h\r\n\r\n",
            b"CONNECT me:hunter2@x:443 HTTP/1.1\r\n\r\n",
            b"curl -s -u bob:hunter2 http://x/a.sh | sh\n",
            b"PGPASSWORD=hunter2 psql -c id\n",
            b"root@h:~# curl -u bob:hunter2 http://x/\n# ",
            b"GET http://me:hunter2@x/ HTTP/1.1\r\n\r\n",
            b"GET /a#hunter2 HTTP/1.1\r\n\r\n",
            b"GET /login;token=hunter2 HTTP/1.1\r\n\r\n",
            b"hello, the password is hunter2\r\n",
            b"a001 LOGIN me hunter2\r\n",
            b"AUTHINFO PASS hunter2\r\n",
            b"<13>Nov 30 08:00:00 host app: password hunter2\n",
            b"INVITE sip:me:hunter2@x SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n",
        ];
        for payload in payloads {
            let shown = shown(payload, PayloadDetails::Names);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn names_and_versions_remain() {
        assert_eq!(
            shown(b"SSH-2.0-OpenSSH_9.2\r\n", PayloadDetails::Names),
            shown(b"SSH-2.0-OpenSSH_9.2\r\n", PayloadDetails::Full)
        );
    }
}
