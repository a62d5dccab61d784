//! JSON: miners, remote calls, and whatever else.

use serde::de::IgnoredAny;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::contains,
};

/// Bytes that are parsed, to see whether it is JSON.
const MAX_PARSED: usize = 4096;

/// Bytes of a document that is not found in noise.
const SHORTEST_PROOF: usize = 4;

/// Words with which miners begin: Stratum, and its relatives of Ethereum and Monero.
const MINING: [&[u8]; 18] = [
    b"\"mining.submit\"",
    b"\"mining.extranonce.subscribe\"",
    b"\"mining.set_target\"",
    b"\"mining.set_extranonce\"",
    b"\"mining.multi_version\"",
    b"\"eth_submitWork\"",
    b"\"eth_submitHashrate\"",
    b"\"eth_login\"",
    b"\"getblocktemplate\"",
    b"\"client.get_version\"",
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
        // Two brackets are found everywhere: what follows must be nothing, or more JSON.
        Ok(_) if !is_followed_rightly(&parsed[documents.byte_offset()..]) => return None,
        Ok(_) if documents.byte_offset() < SHORTEST_PROOF => {
            Identification::consistent(Verdict::Json, "a whole JSON document of a few bytes")
        }
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
    // A pool of Monero's kind sends jobs, and takes what was found.
    let is_job = contains(text, b"\"job\"") && contains(text, b"\"blob\"");
    let is_share = contains(text, b"\"submit\"") && contains(text, b"\"nonce\"");
    let has_target = contains(text, b"\"job_id\"") && contains(text, b"\"target\"");
    is_login
        || is_job
        || is_share
        || has_target
        || MINING.into_iter().any(|word| contains(text, word))
}

/// Whether what follows a document is blank, another document, or a zero.
fn is_followed_rightly(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b'{' | b'[' | b'\0'))
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
