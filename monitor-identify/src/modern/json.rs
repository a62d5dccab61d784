//! JSON: miners, remote calls, and whatever else.

use serde::de::IgnoredAny;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::contains,
};

/// Bytes that are parsed, to see whether it is JSON.
const MAX_PARSED: usize = 4096;

/// Words with which miners begin: Stratum, and its relatives of Ethereum and Monero.
const MINING: [&[u8]; 8] = [
    b"\"mining.subscribe\"",
    b"\"mining.authorize\"",
    b"\"mining.configure\"",
    b"\"mining.notify\"",
    b"\"mining.set_difficulty\"",
    b"\"eth_submitLogin\"",
    b"\"eth_getWork\"",
    b"\"keepalived\"",
];

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let text = payload.bytes.trim_ascii_start();
    let start = *text.first()?;
    if !matches!(start, b'{' | b'[') {
        return None;
    }
    if start == b'{' && is_mining(text) {
        let mut details = Details::default();
        details.set_known("method", method(text));
        let reason = "JSON with a method of mining pools";
        return Some(Identification::confirmed(Verdict::Mining, reason).with(details));
    }
    let parsed = text.get(..MAX_PARSED).unwrap_or(text);
    let mut documents = serde_json::Deserializer::from_slice(parsed).into_iter::<IgnoredAny>();
    let identification = match documents.next()? {
        Ok(_) => Identification::confirmed(Verdict::Json, "a whole JSON document"),
        // Cut by the capture, or going on in the next segment.
        Err(error) if error.is_eof() && looks_like_json(text) => {
            Identification::consistent(Verdict::Json, "the beginning of a JSON document")
        }
        Err(_) => return None,
    };
    let mut details = Details::default();
    if contains(parsed, b"\"jsonrpc\"") {
        details.set("protocol", "JSON-RPC");
        details.set_known("method", method(text));
    }
    Some(identification.with(details))
}

/// Monero's miners log in with a name of their software.
fn is_mining(text: &[u8]) -> bool {
    let text = text.get(..MAX_PARSED).unwrap_or(text);
    let is_login = contains(text, b"\"login\"") && contains(text, b"\"agent\"");
    is_login || MINING.into_iter().any(|word| contains(text, word))
}

/// The value of the first `"method"`.
fn method(text: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\"method\"";
    let text = text.get(..MAX_PARSED).unwrap_or(text);
    let at = text.windows(NAME.len()).position(|window| window == NAME)?;
    let value = text[at + NAME.len()..].trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start().strip_prefix(b"\"")?;
    let end = value.iter().position(|byte| *byte == b'"')?;
    Some(shown(&value[..end]))
}

/// A bracket alone begins many things: it takes a name or a value behind it.
fn looks_like_json(text: &[u8]) -> bool {
    let inside = text[1..].trim_ascii_start();
    matches!(inside.first(), Some(b'"' | b'{' | b'[')) && inside.len() >= 4
}
