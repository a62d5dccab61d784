//! What a payload says of itself, decoded for the operator.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// Characters of a text that are kept: what a sender writes must not fill logs.
const MAX_CHARS: usize = 256;

/// Names and values in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details(Vec<Detail>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
struct Detail {
    name: &'static str,
    value: Value,
    kind: DetailKind,
}

/// What a detail is, for those who show it to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailKind {
    /// A name, a number, or a word of the protocol.
    Name,
    /// An address within a service: a path or a URL, which may have a query and credentials.
    Address,
    /// A command with its arguments.
    Command,
    /// What somebody wrote, or bytes of it: it may have anything.
    Content,
}

impl Details {
    /// Adds a value.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.push(name, value.into(), DetailKind::Name);
    }

    fn push(&mut self, name: &'static str, value: Value, kind: DetailKind) {
        if self.0.is_empty() {
            // As many as most have, at once.
            self.0.reserve(12);
        }
        self.0.push(Detail { name, value, kind });
    }

    /// Adds a path or a URL as the payload has it.
    pub(crate) fn set_address(&mut self, name: &'static str, text: &[u8]) {
        self.push(name, shown(text).into(), DetailKind::Address);
    }

    /// Adds a path or a URL that is not empty.
    pub(crate) fn set_some_address(&mut self, name: &'static str, text: Option<&[u8]>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.set_address(name, text);
        }
    }

    /// Adds a command with its arguments.
    pub(crate) fn set_command(&mut self, name: &'static str, line: &[u8]) {
        self.push(name, shown(line).into(), DetailKind::Command);
    }

    /// Adds what somebody wrote.
    pub(crate) fn set_content(&mut self, name: &'static str, value: impl Into<Value>) {
        self.push(name, value.into(), DetailKind::Content);
    }

    /// Adds what somebody wrote, if that is not empty.
    pub(crate) fn set_some_content(&mut self, name: &'static str, text: Option<&[u8]>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.set_content(name, shown(text));
        }
    }

    /// The same with other values; without those for which `change` returns `None`.
    pub fn changed(&self, mut change: impl FnMut(DetailKind, &Value) -> Option<Value>) -> Self {
        let details = self.0.iter().filter_map(|detail| {
            let value = change(detail.kind, &detail.value)?;
            Some(Detail { value, ..*detail })
        });
        Self(details.collect())
    }

    /// Adds a value that is known.
    pub(crate) fn set_known(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Adds text as the payload has it.
    pub(crate) fn set_text(&mut self, name: &'static str, text: &[u8]) {
        self.set(name, shown(text));
    }

    /// Adds text that is not empty.
    pub(crate) fn set_some_text(&mut self, name: &'static str, text: Option<&[u8]>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.set_text(name, text);
        }
    }

    /// Adds all that others say.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|detail| (detail.name, &detail.value))
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Bytes as text: what is not UTF-8 is replaced, and what is too long is cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    // No character is longer than four bytes.
    let start = bytes.get(..MAX_CHARS * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    if text.len() <= MAX_CHARS {
        return text.into_owned();
    }
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

/// The name of a number, or the number.
pub(crate) fn named(name: Option<&'static str>, number: u8) -> Cow<'static, str> {
    name.map_or_else(|| format!("0x{number:02x}").into(), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shown(b"plain"), "plain");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
        let long = shown("ä".repeat(5000).as_bytes());
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with("ä…"));
    }

    #[test]
    fn order_is_kept() {
        let mut details = Details::default();
        details.set("z", 1);
        details.set("a", "two");
        assert_eq!(serde_json::to_string(&details).expect("JSON"), r#"{"z":1,"a":"two"}"#);
    }
}
