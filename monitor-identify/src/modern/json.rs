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
    let may_be_whole = || may_go_on(text) && may_end(parsed);
    if !looks_like_json(text) && !may_be_whole() {
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

/// Whether it is a message of miners or their pools: Stratum, and its relatives of Ethereum and
/// Monero, some of whose words are common: they count together, and as what they are there.
fn is_mining(text: &[u8]) -> bool {
    let text = text.get(..MAX_PARSED).unwrap_or(text);
    let mut words = Words::default();
    // What stands between quotes, every second piece, and what separates it from the next.
    let mut pieces = text.split(|byte| *byte == b'"').skip(1);
    while let Some(word) = pieces.next() {
        let is_name = pieces.next().is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"));
        if words.is_of_mining(word, is_name) {
            return true;
        }
    }
    words.is_enough()
}

/// Common words that were seen.
#[derive(Default)]
struct Words {
    /// The name before this word is `method`.
    is_method: bool,
    /// Values of `method`.
    login: bool,
    submit: bool,
    job: bool,
    /// Names of members.
    has_login: bool,
    has_pass: bool,
    has_agent: bool,
    has_job: bool,
    has_blob: bool,
    has_job_id: bool,
    has_target: bool,
    has_nonce: bool,
}

impl Words {
    /// Takes a word, and says whether it is of mining alone.
    fn is_of_mining(&mut self, word: &[u8], is_name: bool) -> bool {
        if is_name {
            self.is_method = word == b"method";
            match word {
                b"login" => self.has_login = true,
                b"pass" => self.has_pass = true,
                b"agent" => self.has_agent = true,
                b"job" => self.has_job = true,
                b"blob" => self.has_blob = true,
                b"job_id" => self.has_job_id = true,
                b"target" => self.has_target = true,
                b"nonce" => self.has_nonce = true,
                _ => {}
            }
            return false;
        }
        match word {
            b"login" if self.is_method => self.login = true,
            b"submit" if self.is_method => self.submit = true,
            b"job" if self.is_method => self.job = true,
            b"keepalived"
            | b"getblocktemplate"
            | b"getjobtemplate"
            | b"client.get_version"
            | b"client.reconnect"
            | b"eth_login"
            | b"eth_getWork"
            | b"eth_submitLogin"
            | b"eth_submitWork"
            | b"eth_submitHashrate" => return true,
            _ => return word.starts_with(b"mining.") || word.starts_with(b"EthereumStratum/"),
        }
        false
    }

    fn is_enough(&self) -> bool {
        self.login && (self.has_login || self.has_pass) && (self.has_agent || self.has_pass)
            || self.submit && self.has_nonce && self.has_job_id
            || (self.job || self.has_job) && self.has_blob
            || self.has_job_id && self.has_target && (self.has_blob || self.job)
            || self.has_job_id && self.has_target && self.has_login
    }
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

/// Whether what is behind the first bracket begins a name or a value, or ends the document.
fn may_go_on(text: &[u8]) -> bool {
    match (text[0], text[1..].trim_ascii_start()) {
        (_, [b'"', ..]) | (b'{', [b'}', ..]) => true,
        (b'[', [b'{' | b'[' | b']' | b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]) => true,
        (b'[', value) => {
            [&b"true"[..], b"false", b"null"].into_iter().any(|word| value.starts_with(word))
        }
        _ => false,
    }
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
