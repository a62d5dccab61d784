//! Hexadecimal digits as people paste them.

use anyhow::{Result, bail};

/// Decodes digits; what stands between bytes does not matter: blanks, line ends, colons, commas,
/// hyphens, `0x` and `\x`.
pub(super) fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut high = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_prefix = matches!(character, '0' | '\\')
            && high.is_none()
            && characters.next_if(|(_, next)| matches!(next, 'x' | 'X')).is_some();
        let is_between = character.is_whitespace() || matches!(character, ':' | ',' | '-');
        if is_prefix || is_between {
            continue;
        }
        let Some(digit) = character.to_digit(16) else {
            bail!("character {} of --hex, {character:?}, is not hexadecimal", at + 1);
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high << 4 | digit) as u8),
        }
    }
    if high.is_some() {
        bail!("--hex has an odd number of digits: half a byte is missing");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_people_paste_is_read() {
        for text in
            ["dc0601AE", "dc 06 01 ae", "dc:06:01:ae", "0xdc, 0x06, 0x01, 0xae", "0xdc0601ae"]
        {
            assert_eq!(decode(text).expect(text), [0xdc, 6, 1, 0xae], "{text}");
        }
        assert_eq!(decode("\\xdc\\x06\n01\tae\r\n").expect("escapes"), [0xdc, 6, 1, 0xae]);
        assert!(decode("").expect("nothing").is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| decode(text).expect_err(text).to_string();
        assert!(error("dc0g").contains("character 4 of --hex, 'g'"));
        assert!(error("dc0").contains("odd"));
        assert!(error("d:c0").contains("odd"));
    }
}
