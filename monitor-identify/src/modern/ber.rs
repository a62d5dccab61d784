//! Basic encoding rules of ASN.1, X.690 §8.1: a tag, a length and a value.

use crate::reader::Reader;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads a definite length of at most four bytes.
pub(super) fn len(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        short @ ..=0x7f => Some(short.into()),
        0x81 => reader.u8().map(usize::from),
        0x82 => reader.be16().map(usize::from),
        0x83 => reader.be24().map(|len| len as usize),
        0x84 => reader.be32().and_then(|len| usize::try_from(len).ok()),
        _ => None,
    }
}

/// Reads an element, of which all bytes are there.
pub(super) fn element<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = reader.u8()?;
    let len = len(reader)?;
    Some((tag, reader.take(len)?))
}

/// Reads the value of an element with this tag.
pub(super) fn expect<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<&'a [u8]> {
    let (found, value) = element(reader)?;
    (found == tag).then_some(value)
}

/// Enters an element with this tag, whose end may not have been captured, and returns its length.
pub(super) fn enter(reader: &mut Reader<'_>, tag: u8) -> Option<usize> {
    if reader.u8()? != tag {
        return None;
    }
    len(reader)
}

/// The value of an INTEGER of at most four bytes that is not negative.
pub(super) fn unsigned(value: &[u8]) -> Option<u32> {
    let is_right = matches!(value.len(), 1..=5) && value[0] < 0x80;
    is_right.then(|| value.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)))
}
