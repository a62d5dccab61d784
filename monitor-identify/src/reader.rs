//! A cursor over bytes that never reads past their end.

/// Bytes that are still to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn le16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn be64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn le32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Bytes behind a length of one byte.
    pub(crate) fn block8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// Bytes behind a length of two bytes, big-endian.
    pub(crate) fn block16(&mut self) -> Option<&'a [u8]> {
        let len = self.be16()?;
        self.take(len.into())
    }

    /// Bytes up to a zero, which is consumed.
    pub(crate) fn text_to_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// WAP's variable-length integer, WAP-230-WSP §8.1.2: seven bits a byte, the first the highest,
    /// five bytes at most. That is three bits more than the 32 that the specification allows;
    /// a value that uses them is an attack.
    pub(crate) fn uintvar(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for _ in 0..5 {
            let byte = self.u8()?;
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A variable-length integer that is a size in bytes; one that no memory holds is as large as
    /// can be.
    pub(crate) fn size(&mut self) -> Option<usize> {
        self.uintvar().map(|size| usize::try_from(size).unwrap_or(usize::MAX))
    }
}

/// The line that text begins with, without its end.
pub(crate) fn first_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    &text[..end]
}

/// Where `needle` lies in `haystack` first.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut start = 0;
    loop {
        let at = start + haystack[start..].iter().position(|byte| byte == first)?;
        if haystack[at + 1..].starts_with(rest) {
            return Some(at);
        }
        start = at + 1;
    }
}

/// Whether `needle` lies somewhere in `haystack`.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

/// Whether text begins with `prefix`, in letters of either case.
pub(crate) fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether all bytes are printable ASCII, tabs or line ends.
pub(crate) fn is_plain_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t' | b'\r' | b'\n'))
}

/// Whether all bytes are printable ASCII.
pub(crate) fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uintvar_is_as_in_the_specification() {
        let read = |bytes| Reader::new(bytes).uintvar();
        assert_eq!(read(&[0x26]), Some(0x26));
        assert_eq!(read(&[0x87, 0xa5, 0x16]), Some(0x1_d296));
        assert_eq!(read(&[0x8f, 0xff, 0xff, 0xff, 0x7f]), Some(0xffff_ffff));
        assert_eq!(read(&[0x90, 0x80, 0x80, 0x80, 0x00]), Some(0x1_0000_0000));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Some(0x7_ffff_ffff));
        assert_eq!(read(&[0x80; 6]), None);
        assert_eq!(read(&[0x80]), None);
    }

    #[test]
    fn text_is_found_wherever_it_lies() {
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"aab", b"b"), Some(2));
        assert_eq!(find(b"aab", b"abc"), None);
        assert_eq!(find(b"", b"a"), None);
        assert!(contains(b"abc", b"abc") && !contains(b"ab", b"abc"));
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut reader = Reader::new(&[2, 7]);
        assert_eq!(reader.block8(), None);
        assert_eq!(reader.be16(), None);
        assert_eq!(reader.text_to_nul(), None);
        assert_eq!(reader.u8(), Some(7));
        assert!(reader.is_empty());
    }
}
