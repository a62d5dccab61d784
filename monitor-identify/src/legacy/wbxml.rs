//! Binary XML, WAP-192-WBXML: what service indications and provisioning documents are written in.

use crate::reader::Reader;

/// What a document begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    /// Which kind of document it is, from the registry of the Open Mobile Naming Authority.
    pub(super) public_id: u64,
    /// Where its name is in the string table, if it has no number.
    name_at: usize,
    /// Bits of evidence in version, character set and string table.
    bits: u32,
    strings: &'a [u8],
    body: &'a [u8],
}

/// One token of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The start of an element; the name's number without its flags.
    Element(u8),
    /// The start of an attribute: its name, and perhaps the beginning of its value.
    Attribute(u8),
    /// A part of an attribute's value that has a number.
    AttributeValue(u8),
    /// Text, of an element or an attribute.
    Text(&'a [u8]),
    /// Bytes of a format that the document's kind defines.
    Opaque(&'a [u8]),
    /// The end of an element or of its attributes.
    End,
}

/// Character sets that documents are written in, by their IANA numbers: ASCII, ISO 8859, Shift JIS,
/// UTF-8, GBK, UCS-2, UTF-16 and Big5.
const fn is_charset(number: u64) -> bool {
    matches!(number, 3..=12 | 17 | 106 | 113 | 1000 | 1013..=1015 | 2026)
}

const UTF_8: u64 = 106;
const US_ASCII: u64 = 3;
const ISO_8859_1: u64 = 4;

/// Kinds of documents, from the registry of the Open Mobile Naming Authority.
const fn is_public_id(number: u64) -> bool {
    matches!(number, 0x02..=0x12 | 0x0fd1..=0x0fd3 | 0x1101..=0x1205)
}

/// Bits of evidence in a body that begins a document of this kind: its version, its kind, which may
/// be a name in its string table, its character set, and the size of that table.
pub(super) fn evidence(body: &[u8], public_id: u8, name: &[u8]) -> Option<u32> {
    let document = Document::read(body)?;
    document.is(public_id, name).then_some(8 + document.bits)
}

/// Bits of evidence in a body that begins a document of any kind.
pub(super) fn evidence_of_any(body: &[u8]) -> Option<u32> {
    let document = Document::read(body)?;
    let is_named = document.public_id == 0 && document.name_at < document.strings.len();
    let of_kind = match document.public_id {
        // WML, of which gateways have the most.
        0x02 | 0x04 | 0x09 | 0x0a => 6,
        id if is_public_id(id) => 3,
        _ if is_named => 2,
        1 => 0,
        _ => return None,
    };
    Some(of_kind + document.bits)
}

impl<'a> Document<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u8()?;
        let public_id = reader.uintvar()?;
        // Its name, by its place in the string table.
        let name_at = if public_id == 0 { reader.size()? } else { 0 };
        let charset = reader.uintvar()?;
        let len = reader.size()?;
        let strings = reader.take(len)?;
        // Version 1.0 has no character set.
        if !(1..=3).contains(&version) || !is_charset(charset) {
            return None;
        }
        let of_charset = if matches!(charset, UTF_8 | US_ASCII | ISO_8859_1) { 6 } else { 4 };
        let bits = 6 + of_charset + if len == 0 { 2 } else { 0 };
        Some(Self { public_id, name_at, bits, strings, body: reader.rest() })
    }

    /// Whether it is of this kind, by its number or by its name in the string table.
    pub(super) fn is(&self, public_id: u8, name: &[u8]) -> bool {
        match self.public_id {
            0 => {
                let strings = self.strings.get(self.name_at..).unwrap_or_default();
                Reader::new(strings).text_to_nul() == Some(name)
            }
            id => id == u64::from(public_id),
        }
    }

    /// The tokens, as far as they can be read.
    pub(super) fn tokens(&self) -> Tokens<'a> {
        Tokens {
            reader: Reader::new(self.body),
            strings: self.strings,
            page: 0,
            in_attributes: false,
        }
    }
}

/// Reads tokens one by one.
pub(super) struct Tokens<'a> {
    reader: Reader<'a>,
    strings: &'a [u8],
    /// Which table the numbers of names are of.
    pub(super) page: u8,
    in_attributes: bool,
}

/// Tokens that mean the same everywhere, §7.1.
mod global {
    pub(super) const SWITCH_PAGE: u8 = 0x00;
    pub(super) const END: u8 = 0x01;
    pub(super) const ENTITY: u8 = 0x02;
    pub(super) const STR_I: u8 = 0x03;
    pub(super) const STR_T: u8 = 0x83;
    pub(super) const OPAQUE: u8 = 0xc3;
}

/// Flags of an element's token.
const HAS_ATTRIBUTES: u8 = 0x80;
const HAS_CONTENT: u8 = 0x40;

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        // Every round consumes a byte.
        loop {
            let token = match self.reader.u8()? {
                global::SWITCH_PAGE => {
                    self.page = self.reader.u8()?;
                    continue;
                }
                global::END => self.end(),
                global::ENTITY => {
                    self.reader.uintvar()?;
                    continue;
                }
                global::STR_I => Token::Text(self.reader.text_to_nul()?),
                global::STR_T => Token::Text(self.string()?),
                global::OPAQUE => {
                    let len = self.reader.size()?;
                    Token::Opaque(self.reader.take(len)?)
                }
                // Literals, processing instructions and extensions: in none of these documents.
                0x04 | 0x40..=0x44 | 0x80..=0x84 | 0xc0..=0xc4 => return None,
                token => self.named(token),
            };
            return Some(token);
        }
    }
}

impl<'a> Tokens<'a> {
    fn named(&mut self, token: u8) -> Token<'a> {
        if !self.in_attributes {
            self.in_attributes = token & HAS_ATTRIBUTES != 0;
            return Token::Element(token & !(HAS_ATTRIBUTES | HAS_CONTENT));
        }
        match token {
            ..0x80 => Token::Attribute(token),
            _ => Token::AttributeValue(token),
        }
    }

    fn end(&mut self) -> Token<'a> {
        self.in_attributes = false;
        Token::End
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.reader.size()?;
        Reader::new(self.strings.get(start..)?).text_to_nul()
    }
}
