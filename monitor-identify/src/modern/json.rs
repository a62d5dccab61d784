//! JSON: miners, remote calls, and whatever else.

use serde::de::IgnoredAny;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, shown},
    reader::{contains, find},
};

/// Bytes that are parsed, to see whether it is JSON.
const MAX_PARSED: usize = 4096;

/// Bytes of a document that is not found in noise.
const SHORTEST_PROOF: usize = 4;

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
    // An error of the parser takes memory: what is neither the beginning nor the end of a document is
    // not parsed.
    if !looks_like_json(text) && !may_end(parsed) {
        return None;
    }
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
    if contains(parsed, b"\"You Know, for Search\"") {
        let reason = "the document by which Elasticsearch introduces itself";
        return Some(Identification::confirmed(Verdict::Elasticsearch, reason));
    }
    let mut details = Details::default();
    if contains(parsed, b"\"jsonrpc\"") {
        details.set("protocol", "JSON-RPC");
        details.set_known("method", method(text));
    }
    Some(identification.with(details))
}

/// Whether it has a word of miners or of their pools: Stratum, and its relatives of Ethereum and
/// Monero, some of whose words are common and count in pairs.
fn is_mining(text: &[u8]) -> bool {
    let text = text.get(..MAX_PARSED).unwrap_or(text);
    let mut seen = Pairs::default();
    // What stands between quotes, every second piece.
    text.split(|byte| *byte == b'"').skip(1).step_by(2).any(|word| is_of_mining(word, &mut seen))
}

/// Common words that were seen.
#[derive(Default)]
struct Pairs {
    login: bool,
    agent: bool,
    job: bool,
    blob: bool,
    submit: bool,
    nonce: bool,
    job_id: bool,
    target: bool,
}

fn is_of_mining(word: &[u8], seen: &mut Pairs) -> bool {
    match word {
        b"keepalived"
        | b"getblocktemplate"
        | b"client.get_version"
        | b"eth_login"
        | b"eth_getWork"
        | b"eth_submitLogin"
        | b"eth_submitWork"
        | b"eth_submitHashrate" => {
            return true;
        }
        b"login" => seen.login = true,
        b"agent" => seen.agent = true,
        b"job" => seen.job = true,
        b"blob" => seen.blob = true,
        b"submit" => seen.submit = true,
        b"nonce" => seen.nonce = true,
        b"job_id" => seen.job_id = true,
        b"target" => seen.target = true,
        _ => return word.starts_with(b"mining."),
    }
    seen.login && seen.agent
        || seen.job && seen.blob
        || seen.submit && seen.nonce
        || seen.job_id && seen.target
}

/// Whether what follows a document is blank, another document, or a zero.
fn is_followed_rightly(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b'{' | b'[' | b'\0'))
}

/// The value of the first `"method"`.
fn method(text: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\"method\"";
    let text = text.get(..MAX_PARSED).unwrap_or(text);
    let at = find(text, NAME)?;
    let value = text[at + NAME.len()..].trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start().strip_prefix(b"\"")?;
    let end = value.iter().position(|byte| *byte == b'"')?;
    Some(shown(&value[..end]))
}

/// Whether text ends as a document does, or several of them.
fn may_end(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    matches!(text.strip_suffix(b"\0").unwrap_or(text).last(), Some(b'}' | b']'))
}

/// A bracket alone begins many things: it takes a name or a value behind it.
fn looks_like_json(text: &[u8]) -> bool {
    let inside = text[1..].trim_ascii_start();
    matches!(inside.first(), Some(b'"' | b'{' | b'[')) && inside.len() >= 4
}
