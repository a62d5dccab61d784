//! Names of interfaces as text.
//!
//! To the kernel a name is up to 15 bytes without `/`, `:` and white space (`dev_valid_name` in
//! `net/core/dev.c`); nothing asks it to be UTF-8. As text, a byte that is no part of UTF-8 is
//! written `\xNN`. So is a backslash that looks like the beginning of such an escape. Every other
//! name is its own text, and every text stands for one name.

use std::fmt::Write as _;

/// The text of a name.
pub fn text(name: &[u8]) -> String {
    let mut text = String::new();
    let mut start = 0;
    for chunk in name.utf8_chunks() {
        for (offset, character) in chunk.valid().char_indices() {
            match escaped(&name[start + offset..]) {
                Some(_) => escape(&mut text, b'\\'),
                None => text.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
        start += chunk.valid().len() + chunk.invalid().len();
    }
    text
}

/// The name that a text stands for.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut name = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let (byte, left) = escaped(rest).unwrap_or((*first, behind));
        name.push(byte);
        rest = left;
    }
    name
}

fn escape(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// The byte that an escape at the beginning of `bytes` stands for, and what follows the escape.
fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.strip_prefix(b"\\x")?.split_at_checked(2)?;
    let is_hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hexadecimal)?;
    Some((u8::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_in_utf8_is_its_own_text() {
        for name in ["eth0", "a\"b", "a\\b", "\\xg0", "\\x1", "a%b*?", "größe"] {
            assert_eq!(text(name.as_bytes()), name);
            assert_eq!(bytes(name), name.as_bytes());
        }
    }

    #[test]
    fn escapes_bytes_that_are_no_utf8() {
        assert_eq!(text(b"gp\xff0"), "gp\\xff0");
        assert_eq!(bytes("gp\\xff0"), b"gp\xff0");
        assert_eq!(text(b"\xc3\xb6\xc3"), "ö\\xc3");
    }

    #[test]
    fn escapes_a_backslash_that_looks_like_an_escape() {
        assert_eq!(text(b"a\\xffb"), "a\\x5cxffb");
        assert_eq!(text(b"\\\xff"), "\\\\xff");
    }

    proptest! {
        #[test]
        fn every_text_stands_for_one_name(name in proptest::collection::vec(1u8.., 1..16)) {
            prop_assert_eq!(bytes(&text(&name)), name);
        }

        #[test]
        fn backslashes_and_digits_survive(name in "[\\\\x0-9a-f]{1,15}") {
            prop_assert_eq!(bytes(&text(name.as_bytes())), name.as_bytes());
        }
    }
}
