//! The content type that a WSP body is announced with, WAP-230-WSP §8.4.2.24.

use super::{
    header::{Broken, Value, length},
    media_types::{MEDIA_TYPES, long_name},
};
use crate::{
    details::shown,
    evidence::Evidence,
    reader::{Reader, is_printable},
};

/// A media type with those of its parameters that matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentType<'a> {
    media: Media<'a>,
    /// Character set, a number of the IANA registry.
    pub(super) charset: Option<u64>,
    /// Who vouches for a provisioning document, OMA-WAP-TS-ProvCont.
    pub(super) security: Option<u8>,
    /// Its size is larger than what is left.
    pub(super) is_too_large: bool,
    /// How much speaks for this being a content type.
    pub(super) evidence: Evidence,
}

#[derive(Clone, Copy, Debug)]
enum Media<'a> {
    Code(u8),
    /// One of the registrations above 0x200.
    LongCode(u16),
    Text(&'a [u8]),
    /// Text of which the end is not there.
    Beginning(&'a [u8]),
}

/// What the body of a push is, as far as that makes a verdict or can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mms,
    ServiceIndication,
    ServiceLoading,
    Provisioning,
    WvCir,
    /// WBXML of a kind that is not decoded.
    Wbxml,
    Text,
    Other,
}

mod parameter {
    pub(super) const CHARSET: u8 = 0x81;
    pub(super) const SEC: u8 = 0x91;
    /// The code that authenticates a provisioning document: forty hexadecimal digits.
    pub(super) const MAC: u8 = 0x92;
}

const UTF_8: u64 = 106;
const US_ASCII: u64 = 3;

impl<'a> ContentType<'a> {
    /// Reads a content type from the start of a push's headers.
    ///
    /// One that is announced as larger than what is there is read as far as it makes sense.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Broken> {
        if reader.peek().is_some_and(|first| first >= 0x20) {
            return Self::of_media(Value::read(reader)?);
        }
        let len = length(reader)?;
        let Some(general) = reader.take(len) else {
            let mut content_type = Self::of_media(Value::read(reader)?)?;
            content_type.is_too_large = true;
            content_type.known_parameters(reader);
            return Ok(content_type);
        };
        let mut parts = Reader::new(general);
        let mut content_type = Self::of_media(Value::read(&mut parts)?)?;
        while !parts.is_empty() {
            content_type.parameter(&mut parts)?;
        }
        content_type.evidence.add(3);
        Ok(content_type)
    }

    /// Reads a content type that is spelt out and has no end: packet or capture end before.
    pub(super) fn beginning(reader: &mut Reader<'a>) -> Result<Self, Broken> {
        let text = reader.rest();
        let content_type = Self::of_media(Value::Text(text))?;
        *reader = Reader::new(&[]);
        Ok(Self { media: Media::Beginning(text), ..content_type })
    }

    fn of_media(value: Value<'a>) -> Result<Self, Broken> {
        let (media, evidence) = match value {
            Value::Short(code) if usize::from(code) < MEDIA_TYPES.len() => {
                // That it is a number is no evidence; that it is one of few is.
                let bits = match kind_of_code(code) {
                    Kind::Other if PUSHED.contains(&code) => 4,
                    Kind::Other => 1,
                    Kind::Text | Kind::Wbxml => 3,
                    _ => 4,
                };
                (Media::Code(code), Evidence::bits(bits))
            }
            Value::Data([high, low]) if long_name(u16::from_be_bytes([*high, *low])).is_some() => {
                (Media::LongCode(u16::from_be_bytes([*high, *low])), Evidence::bits(14))
            }
            Value::Data([code]) if usize::from(*code) < MEDIA_TYPES.len() => {
                (Media::Code(*code), Evidence::bits(1))
            }
            Value::Text(text) if is_media_type(text) => {
                let mut evidence = Evidence::of_text(text);
                evidence.add(8);
                (Media::Text(text), evidence)
            }
            _ => return Err(Broken::Malformed),
        };
        Ok(Self { media, charset: None, security: None, is_too_large: false, evidence })
    }

    fn known_parameters(&mut self, reader: &mut Reader<'a>) {
        while matches!(reader.peek(), Some(parameter::CHARSET | parameter::SEC)) {
            let before = *reader;
            if self.parameter(reader).is_err() {
                *reader = before;
                return;
            }
        }
    }

    fn parameter(&mut self, reader: &mut Reader<'a>) -> Result<(), Broken> {
        let name = reader.peek();
        let (key, value) = (Value::read(reader)?, Value::read(reader)?);
        match (name, key, value.number()) {
            (Some(parameter::CHARSET), _, Some(number)) => {
                self.charset = Some(number);
                self.evidence.add(if matches!(number, UTF_8 | US_ASCII) { 12 } else { 8 });
            }
            (Some(parameter::SEC), _, Some(number @ 0..=3)) => {
                self.security = Some(number as u8);
                self.evidence.add(12);
            }
            (Some(parameter::MAC), _, _) if value.text().is_some_and(is_code) => {
                self.evidence.add(16);
            }
            (_, Value::Short(_), _) => {}
            (_, Value::Text(name), _) if is_printable(name) => {
                self.evidence.join(Evidence::of_text(name));
            }
            _ => return Err(Broken::Malformed),
        }
        Ok(())
    }

    /// The media type as text.
    pub(super) fn name(&self) -> String {
        match self.media {
            Media::Text(text) => shown(text),
            Media::Beginning(text) => format!("{}…", shown(text)),
            Media::LongCode(code) => {
                long_name(code).map_or_else(|| format!("0x{code:04x}"), str::to_owned)
            }
            Media::Code(code) => match MEDIA_TYPES.get(usize::from(code)) {
                Some(name) => (*name).to_owned(),
                None => format!("0x{code:02x}"),
            },
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.media {
            Media::Code(code) => kind_of_code(code),
            Media::Text(text) => kind_of_name(text),
            Media::LongCode(code) => {
                long_name(code).map_or(Kind::Other, |name| kind_of_name(name.as_bytes()))
            }
            Media::Beginning(_) => Kind::Other,
        }
    }
}

/// Types that are pushed, of no shape that could be checked: multipart messages, initiations of
/// sessions, notifications of SyncML, rights.
const PUSHED: [u8; 8] = [0x23, 0x26, 0x33, 0x34, 0x44, 0x48, 0x4e, 0x58];

const fn kind_of_code(code: u8) -> Kind {
    match code {
        0x2d | 0x2e => Kind::ServiceIndication,
        0x2f | 0x30 => Kind::ServiceLoading,
        0x35 | 0x36 => Kind::Provisioning,
        0x3e => Kind::Mms,
        0x46 => Kind::WvCir,
        0x14 | 0x16 | 0x29 | 0x32 | 0x40 | 0x42 | 0x4b | 0x4d => Kind::Wbxml,
        0x01..=0x0a | 0x27 | 0x28 | 0x31 | 0x3b..=0x3d | 0x41 | 0x43 | 0x45 | 0x4a | 0x4c => {
            Kind::Text
        }
        // Messages that announce a synchronisation or rights: binary, of no common shape.
        _ => Kind::Other,
    }
}

fn kind_of_name(name: &[u8]) -> Kind {
    match MEDIA_TYPES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
        Some(code) => kind_of_code(code as u8),
        None if name.ends_with(b"+wbxml") => Kind::Wbxml,
        None if name.starts_with(b"text/") || name.ends_with(b"+xml") => Kind::Text,
        None => Kind::Other,
    }
}

/// Whether text is a message authentication code.
fn is_code(text: &[u8]) -> bool {
    text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit)
}

/// Whether text is `type/subtype`, perhaps with parameters.
fn is_media_type(text: &[u8]) -> bool {
    let Some(slash) = text.iter().position(|byte| *byte == b'/') else { return false };
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.+_*".contains(byte);
    let (kind, subtype) = (&text[..slash], &text[slash + 1..]);
    let end = subtype.iter().position(|byte| matches!(byte, b';' | b' '));
    let (subtype, parameters) = subtype.split_at(end.unwrap_or(subtype.len()));
    const KINDS: [&[u8]; 8] =
        [b"application", b"audio", b"image", b"message", b"model", b"multipart", b"text", b"video"];
    KINDS.into_iter().any(|known| kind.eq_ignore_ascii_case(known))
        && !subtype.is_empty()
        && subtype.iter().all(is_of_name)
        && is_printable(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_registry() {
        let name = |code| MEDIA_TYPES[usize::from(code & 0x7f_u8)];
        assert_eq!(name(0xae), "application/vnd.wap.sic");
        assert_eq!(name(0xb0), "application/vnd.wap.slc");
        assert_eq!(name(0xb6), "application/vnd.wap.connectivity-wbxml");
        assert_eq!(name(0xbe), "application/vnd.wap.mms-message");
        assert_eq!(name(0xc6), "application/vnd.wv.csp.cir");
        assert_eq!(name(0xcb), "application/vnd.oma.drm.rights+wbxml");
    }

    #[test]
    fn media_types_have_a_type_and_a_subtype() {
        assert!(is_media_type(b"text/plain; charset=utf-8"));
        assert!(!is_media_type(b"text/"));
        assert!(!is_media_type(b"/etc/passwd"));
        assert!(!is_media_type(b"plain"));
    }
}
