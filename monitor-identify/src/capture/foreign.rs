//! Files that are captures or archives of other programs, and are not read here: a message names what
//! they are.

/// What a file is that begins with these bytes; `None` if that is not known.
pub fn foreign_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 21] = [
        (b"\xfd7zXZ\0", "compressed by xz"),
        (b"BZh", "compressed by bzip2"),
        (b"\x04\x22\x4d\x18", "compressed by lz4"),
        (b"LZIP", "compressed by lzip"),
        (b"\x1f\x9d", "compressed by compress"),
        (b"PK\x03\x04", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"snoop\0\0\0", "a capture of snoop, RFC 1761"),
        (b"btsnoop\0", "a capture of Bluetooth"),
        (b"RTSS", "a capture of Microsoft's Network Monitor 1"),
        (b"GMBU", "a capture of Microsoft's Network Monitor 2"),
        (b"TRSNIFF data", "a capture of the Sniffer for DOS"),
        (b"XCP\0", "a capture of NetXRay or the Sniffer for Windows"),
        (b"iptrace ", "a capture of AIX' iptrace"),
        (b"\0\0\0\x01\0\0\0\0\0\x07\xd0\0", "a capture of HP-UX' nettl"),
        (b"\xaa\xaa\xaa\xaa", "a capture of 5View"),
        (b"\x05VNF", "a capture of Visual Networks"),
        (b"\0\0\x02\0\x12\x05\0\x10", "a capture of Tektronix' K12"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program of Windows"),
        (b"SQLite format 3\0", "a database of SQLite"),
    ];
    FORMATS.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_of_other_programs_are_named() {
        assert_eq!(foreign_format(b"snoop\0\0\0\0\0\0\x02"), Some("a capture of snoop, RFC 1761"));
        assert_eq!(foreign_format(b"\xfd7zXZ\0\0\x04"), Some("compressed by xz"));
        assert_eq!(foreign_format(b"\xd4\xc3\xb2\xa1"), None);
    }
}
