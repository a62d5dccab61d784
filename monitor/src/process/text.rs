//! Bytes that programs chose, as text.

use std::fmt::Write as _;

/// Bytes as text; one that is not UTF-8 is shown as `\xNN`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The name up to its NUL; `None` for an empty one.
pub(crate) fn name(padded: &[u8]) -> Option<String> {
    let bytes = padded.split(|byte| *byte == 0).next().unwrap_or_default();
    (!bytes.is_empty()).then(|| text(bytes))
}

/// The arguments of a command line. Programs that write a title over theirs leave NULs behind it,
/// so that empty arguments at the end are none.
pub(crate) fn arguments(command_line: &[u8]) -> Vec<String> {
    let last = command_line.iter().rposition(|byte| *byte != 0);
    let filled = last.map_or(&[][..], |last| &command_line[..=last]);
    if filled.is_empty() {
        return Vec::new();
    }
    filled.split(|byte| *byte == 0).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_empty_arguments_at_the_end() {
        assert_eq!(arguments(b"nc\0-l\0\0"), ["nc", "-l"]);
        assert_eq!(arguments(b"nginx: master\0\0\0\0"), ["nginx: master"]);
        assert_eq!(arguments(b"a\0\0b"), ["a", "", "b"]);
        assert!(arguments(b"\0\0").is_empty());
    }

    #[test]
    fn escapes_bytes_that_are_not_utf8() {
        assert_eq!(text(b"a\xffb"), "a\\xffb");
        assert_eq!(name(b"nc\0\0"), Some("nc".to_owned()));
        assert_eq!(name("größe".as_bytes()), Some("größe".to_owned()));
        assert_eq!(name(b"sixteen bytes ab").map(|name| name.len()), Some(16));
        assert_eq!(name(b"\0"), None);
    }
}
