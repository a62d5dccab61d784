//! Text of others on a terminal: names, arguments and payloads are chosen by programs and by peers,
//! and a terminal obeys control characters in them.

use std::borrow::Cow;

/// Escapes the characters of `text` that a terminal acts on instead of showing them: control
/// characters, with which escape sequences begin, and marks that change the direction of writing or
/// are not visible.
///
/// Every writer of text for a terminal passes what it has not written itself through this.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_active(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal acts on a character, or shows nothing for it.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Arabic letter mark, zero-width characters, marks of direction.
            '\u{61c}' | '\u{200b}'..='\u{200f}'
            // Separators of lines and paragraphs, embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates of direction, deprecated marks.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, annotations.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(escaped("a\u{1b}[2J\r\nb"), "a\\u{1b}[2J\\u{d}\\u{a}b");
        assert_eq!(escaped("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(escaped("user\u{202e}gpj.exe\u{2066}"), "user\\u{202e}gpj.exe\\u{2066}");
        assert_eq!(escaped("a\u{200b}b\u{2028}"), "a\\u{200b}b\\u{2028}");
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["", "plain text", "Grüße, привет, 漢字", "a\\b"] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_active_is_left(text in any::<String>()) {
            prop_assert!(!escaped(&text).chars().any(is_active));
        }
    }
}
