//! Attributes in messages of netlink, by their types.

use super::message::beginning;

/// The bits of an attribute's type that are its type (`NLA_TYPE_MASK`).
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// Attributes (`struct nlattr`), one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`, behind a fixed part of `fixed` bytes.
    pub fn behind(bytes: &'a [u8], fixed: usize) -> Self {
        Self(bytes.get(fixed..).unwrap_or_default())
    }

    /// The value of the first attribute of a type.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes that are nested in the first one of a type.
    pub fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    /// A number in network byte order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        beginning(self.get(kind)?).map(u32::from_be_bytes)
    }

    /// A number of 16 bits in network byte order.
    pub fn be16(self, kind: u16) -> Option<u16> {
        beginning(self.get(kind)?).map(u16::from_be_bytes)
    }

    /// A number in the byte order of this machine.
    pub fn u32(self, kind: u16) -> Option<u32> {
        beginning(self.get(kind)?)
    }

    /// A text that ends with NUL; the kernel asks no text to be UTF-8.
    pub fn bytes(self, kind: u16) -> Option<&'a [u8]> {
        let value = self.get(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        value.get(..end)
    }

    /// A text that ends with NUL, if it is UTF-8.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        str::from_utf8(self.bytes(kind)?).ok()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [length, kind]: [u16; 2] = beginning(self.0)?;
        let value = self.0.get(4..usize::from(length))?;
        self.0 = self.0.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        Some((kind & ATTRIBUTE_TYPE, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::attribute;

    #[test]
    fn finds_attributes_by_type() {
        let mut bytes = attribute(1, b"lo\0");
        bytes.push(0);
        // A nested one.
        bytes.extend(attribute(0x8002, &attribute(3, &[0, 7])));
        let attributes = Attributes::behind(&bytes, 0);
        assert_eq!(attributes.text(1), Some("lo"));
        assert_eq!(attributes.nested(2).and_then(|nested| nested.be16(3)), Some(7));
        assert_eq!(attributes.get(3), None);
    }

    #[test]
    fn reads_attributes_up_to_one_that_is_cut() {
        let mut bytes = attribute(7, &[1, 2, 3]);
        bytes.push(0);
        bytes.extend(attribute(8, &[]));
        assert_eq!(
            Attributes::behind(&bytes, 0).collect::<Vec<_>>(),
            [(7, &[1, 2, 3][..]), (8, &[])]
        );
        assert_eq!(Attributes::behind(&bytes[..bytes.len() - 1], 0).count(), 1);
        assert_eq!(Attributes::behind(&[2, 0, 0, 0], 0).count(), 0, "shorter than its own header");
    }
}
