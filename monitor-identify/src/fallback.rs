//! What is said where no signature fits: how the bytes look, and no more.

use std::sync::LazyLock;

use crate::{
    Identification, Payload, Verdict,
    details::{Details, hex, shown},
    reader::first_line,
};

/// Bytes that are looked at.
const SAMPLE: usize = 1024;

/// A payload without a byte.
pub(crate) fn empty(payload: &Payload<'_>) -> Identification {
    if payload.is_cut() {
        let reason = "there is a payload, and none of it was captured";
        return Identification::consistent(Verdict::Unknown, reason);
    }
    Identification::confirmed(Verdict::Empty, "no payload")
}

/// Text, or nothing that is known.
pub(crate) fn identify(payload: &Payload<'_>) -> Identification {
    let sample = payload.bytes.get(..SAMPLE).unwrap_or(payload.bytes);
    let mut counts = [0_u16; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let whitespace = [b'\t', b'\n', b'\r'].map(|byte| counts[usize::from(byte)]);
    let printable = counts[0x20..=0x7e].iter().chain(&whitespace).sum::<u16>();
    if is_text(sample, printable) {
        let mut details = Details::default();
        details.set_content("first_line", shown(first_line(sample)));
        let reason = "printable text that no known protocol begins with";
        return Identification::consistent(Verdict::Text, reason).with(details);
    }
    let mut details = Details::default();
    details.set("bytes", payload.wire_len);
    details.set("entropy_bits_per_byte", rounded(entropy(&counts, sample.len())));
    details.set("printable_share", rounded(f32::from(printable) / sample.len() as f32));
    let start = sample.get(..16).unwrap_or(sample);
    details.set_content("first_bytes", hex(start));
    Identification::consistent(Verdict::Unknown, "no signature fits").with(details)
}

/// All of it printable, or UTF-8 without control characters.
fn is_text(sample: &[u8], printable: u16) -> bool {
    if usize::from(printable) == sample.len() {
        return true;
    }
    // Nearly all bytes of text in another script are above ASCII, none is below.
    if sample.iter().any(|byte| *byte < 0x20 && !byte.is_ascii_whitespace()) {
        return false;
    }
    match std::str::from_utf8(sample) {
        Ok(text) => {
            text.chars().all(|character| !character.is_control() || character.is_whitespace())
        }
        // A character that was cut.
        Err(error) => error.error_len().is_none() && error.valid_up_to() >= 8,
    }
}

/// Shannon's entropy in bits a byte: log₂ n − Σ c·log₂ c / n.
fn entropy(counts: &[u16; 256], len: usize) -> f32 {
    /// c·log₂ c, which takes longer to compute than all the rest.
    static TERMS: LazyLock<Vec<f32>> = LazyLock::new(|| {
        (0..=SAMPLE as u16).map(|count| f32::from(count) * f32::from(count.max(1)).log2()).collect()
    });
    let terms = &*TERMS;
    // Four sums side by side: one would wait for itself 256 times.
    let (quads, _) = counts.as_chunks::<4>();
    let mut sums = [0.0_f32; 4];
    for quad in quads {
        for (sum, count) in sums.iter_mut().zip(quad) {
            *sum += terms[usize::from(*count)];
        }
    }
    let sum: f32 = sums.iter().sum();
    let len = len as f32;
    (len.log2() - sum / len).max(0.0)
}

fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entropy_of(bytes: &[u8]) -> f64 {
        let identification = identify(&Payload::of(bytes));
        let entropy = identification.details.get("entropy_bits_per_byte");
        entropy.and_then(|entropy| entropy.as_f64()).expect("a number")
    }

    #[test]
    fn entropy_is_shannons() {
        assert_eq!(entropy_of(&[0; 64]), 0.0);
        assert_eq!(entropy_of(&[0, 1]), 1.0);
        assert_eq!(entropy_of(&(0..=255).collect::<Vec<u8>>()), 8.0);
        assert_eq!(entropy_of(&[0, 0, 0, 1]), 0.81);
    }

    #[test]
    fn text_is_what_can_be_read() {
        let verdict = |bytes: &[u8]| identify(&Payload::of(bytes)).verdict;
        assert_eq!(verdict(b"hello\r\n"), Verdict::Text);
        assert_eq!(verdict("grüß dich".as_bytes()), Verdict::Text);
        assert_eq!(verdict(b"hello\0"), Verdict::Unknown);
        assert_eq!(verdict(b"\xff\xfe\xfd"), Verdict::Unknown);
    }
}
