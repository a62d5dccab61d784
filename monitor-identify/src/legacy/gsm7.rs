//! Text in the packed seven bits of SMS, 3GPP TS 23.038 §6.1.2.1: the lowest bits come first.

/// Characters that are unpacked.
const MAX_CHARS: usize = 160;

/// Unpacks text of characters that are the same in ASCII; stops before another one.
pub(super) fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes.iter().take(MAX_CHARS * 7 / 8) {
        bits |= u32::from(*byte) << count;
        count += 8;
        while count >= 7 {
            let character = (bits & 0x7f) as u8;
            if !is_ascii(character) {
                return text;
            }
            text.push(character);
            bits >>= 7;
            count -= 7;
        }
    }
    text
}

const fn is_ascii(character: u8) -> bool {
    matches!(character, b'\n' | b'\r' | b' '..=b'#' | b'%'..=b'?' | b'A'..=b'Z' | b'a'..=b'z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_as_the_specification_says() {
        assert_eq!(unpack(&[0xc8, 0x22, 0xf3, 0x09, 0x02]), b"HELO ");
        assert_eq!(unpack(&[0x57, 0xeb, 0x30, 0x09]), b"WVCI");
        assert_eq!(unpack(&[0x57, 0xeb, 0x30, 0x09, 0x8a, 0x01]), b"WVCI 1");
        assert_eq!(unpack(&[0x7f]), b"");
    }
}
