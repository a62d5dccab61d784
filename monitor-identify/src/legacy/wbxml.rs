//! Binary XML, WAP-192-WBXML: what service indications and provisioning documents are written in.

use crate::reader::Reader;

/// What a document begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    /// Which kind of document it is, from the registry of the Open Mobile Naming Authority.
    pub(super) public_id: u64,
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

const UTF_8: u8 = 0x6a;

/// Whether a body begins as every push that was ever seen does: version 1.1 to 1.3, this kind of
/// document, UTF-8.
pub(super) fn begins(body: &[u8], public_id: u8) -> bool {
    matches!(body, [0x01..=0x03, kind, UTF_8, ..] if *kind == public_id)
}

/// Whether a body may begin a document of any kind.
pub(super) fn begins_any(body: &[u8]) -> bool {
    matches!(body, [0x01..=0x03, 0x02..=0x7f, UTF_8, ..] | [0x01..=0x03, 0x00, _, UTF_8, ..])
}

impl<'a> Document<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.u8()?;
        let public_id = reader.uintvar()?;
        if public_id == 0 {
            // Its name, by its place in the string table.
            reader.uintvar()?;
        }
        let _charset = reader.uintvar()?;
        let len = reader.size()?;
        let strings = reader.take(len)?;
        Some(Self { public_id, strings, body: reader.rest() })
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
