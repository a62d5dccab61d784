//! Multimedia messages, WAP-209-MMSEncapsulation: the notification that says to a handset where to
//! fetch one.

use super::header::{Broken, Value};
use crate::{
    details::{Details, named, shown},
    reader::Reader,
};

/// Longest Transaction-Id and Content-Location of honest senders, in bytes. The measure is ours:
/// the overflows of CVE-2006-4131 and CVE-2006-4132 are of buffers whose sizes were not published.
pub(super) const LONGEST_FIELD: usize = 255;

/// Message type of a notification.
pub(super) const NOTIFICATION: u8 = 0x82;

/// Bits that [`begins`] is worth.
pub(super) const EVIDENCE: u32 = 18;

/// Names of fields, WAP-209 table 12.
mod name {
    pub(super) const CONTENT_LOCATION: u8 = 0x83;
    pub(super) const CONTENT_TYPE: u8 = 0x84;
    pub(super) const EXPIRY: u8 = 0x88;
    pub(super) const FROM: u8 = 0x89;
    pub(super) const MESSAGE_CLASS: u8 = 0x8a;
    pub(super) const MESSAGE_TYPE: u8 = 0x8c;
    pub(super) const VERSION: u8 = 0x8d;
    pub(super) const MESSAGE_SIZE: u8 = 0x8e;
    pub(super) const SUBJECT: u8 = 0x96;
    pub(super) const TRANSACTION_ID: u8 = 0x98;
}

/// Whether a body begins as a message must: its type, then transaction or version.
pub(super) fn begins(body: &[u8]) -> bool {
    let [name::MESSAGE_TYPE, 0x80..=0x97, second, ..] = body else { return false };
    matches!(*second, name::TRANSACTION_ID | name::VERSION)
}

/// The fields of a message, as far as they could be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) message_type: u8,
    transaction_id: Option<&'a [u8]>,
    version: Option<u8>,
    from: Option<Value<'a>>,
    subject: Option<Value<'a>>,
    class: Option<Value<'a>>,
    size: Option<u64>,
    expiry: Option<Value<'a>>,
    content_location: Option<&'a [u8]>,
    /// A size in it is larger than what is left, or a text has no end.
    pub(super) is_broken: bool,
    /// A field that is longer than [`LONGEST_FIELD`], with its length in bytes.
    pub(super) overlong: Option<(&'static str, usize)>,
}

impl<'a> Message<'a> {
    /// Reads the fields of a body that [`begins`] as a message.
    pub(super) fn read(body: &'a [u8]) -> Self {
        let mut message = Self::default();
        let mut reader = Reader::new(body);
        // A content type ends the headers.
        while let Some(name) = reader.peek().filter(|name| *name != name::CONTENT_TYPE) {
            reader.u8();
            message.note_overlong(name, reader.rest());
            match Value::read(&mut reader) {
                Ok(value) if name >= 0x80 => message.set(name, value),
                Ok(_) | Err(Broken::PastEnd | Broken::Malformed) => {
                    message.is_broken = true;
                    break;
                }
            }
        }
        message
    }

    fn set(&mut self, name: u8, value: Value<'a>) {
        match name {
            name::MESSAGE_TYPE => self.message_type = value.number().unwrap_or(0) as u8 | 0x80,
            name::TRANSACTION_ID => self.transaction_id = value.text(),
            name::VERSION => self.version = value.number().map(|version| version as u8),
            name::FROM => self.from = Some(value),
            name::SUBJECT => self.subject = Some(value),
            name::MESSAGE_CLASS => self.class = Some(value),
            name::MESSAGE_SIZE => self.size = value.number(),
            name::EXPIRY => self.expiry = Some(value),
            name::CONTENT_LOCATION => self.content_location = value.text(),
            _ => {}
        }
    }

    /// Looks at text before it is read: where it has no end, its beginning is long enough as well.
    fn note_overlong(&mut self, name: u8, rest: &[u8]) {
        let field = match name {
            name::TRANSACTION_ID => "Transaction-Id",
            name::CONTENT_LOCATION => "Content-Location",
            _ => return,
        };
        let len = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        if len > LONGEST_FIELD && rest.first().is_some_and(|first| (0x20..0x80).contains(first)) {
            self.overlong = Some((field, len));
        }
    }

    /// Puts down what the message says.
    pub(super) fn describe(&self, details: &mut Details) {
        details.set("message_type", named(type_name(self.message_type), self.message_type));
        details.set_some_text("transaction_id", self.transaction_id);
        if let Some(version) = self.version {
            details.set("mms_version", format!("{}.{}", version >> 4 & 7, version & 15));
        }
        details.set_known("from", self.from.and_then(sender));
        if let Some(subject) = self.subject.and_then(text) {
            details.set_content("subject", subject);
        }
        details.set_known("message_class", self.class.and_then(class));
        details.set_known("message_size", self.size);
        if let Some((name, seconds)) = self.expiry.and_then(expiry) {
            details.set(name, seconds);
        }
        details.set_some_address("content_location", self.content_location);
    }
}

/// Encoded-string-value: text, perhaps behind a length and a character set.
fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(shown(text)).filter(|text| !text.is_empty()),
        Value::Data(bytes) => {
            let mut reader = Reader::new(bytes);
            Value::read(&mut reader).ok()?.number()?;
            let rest = reader.rest();
            text(Value::Text(rest.strip_suffix(&[0]).unwrap_or(rest)))
        }
        Value::Short(_) => None,
    }
}

/// From: an address, or a token that lets the server insert one.
fn sender(value: Value<'_>) -> Option<String> {
    const ADDRESS_PRESENT: u8 = 0x80;
    let Value::Data([ADDRESS_PRESENT, address @ ..]) = value else { return None };
    text(Value::read(&mut Reader::new(address)).ok()?)
}

/// When the message ends to be there: in seconds from now, or since 1970.
fn expiry(value: Value<'_>) -> Option<(&'static str, u64)> {
    let Value::Data([token, time @ ..]) = value else { return None };
    let time = Value::read(&mut Reader::new(time)).ok()?.number()?;
    match token {
        0x80 => Some(("expires_at", time)),
        0x81 => Some(("expires_in_seconds", time)),
        _ => None,
    }
}

fn class(value: Value<'_>) -> Option<String> {
    let name = match value.number() {
        Some(0) => "personal",
        Some(1) => "advertisement",
        Some(2) => "informational",
        Some(3) => "auto",
        _ => return text(value),
    };
    Some(name.to_owned())
}

const fn type_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0x80 => "m-send-req",
        0x81 => "m-send-conf",
        0x82 => "m-notification-ind",
        0x83 => "m-notifyresp-ind",
        0x84 => "m-retrieve-conf",
        0x85 => "m-acknowledge-ind",
        0x86 => "m-delivery-ind",
        0x87 => "m-read-rec-ind",
        0x88 => "m-read-orig-ind",
        0x89 => "m-forward-req",
        0x8a => "m-forward-conf",
        _ => return None,
    })
}
