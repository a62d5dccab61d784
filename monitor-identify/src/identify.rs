//! From a payload to its verdict.

use crate::{Identification, Payload, fallback, legacy, modern, signature::Table};

static LEGACY: Table = Table::new(legacy::SIGNATURES);
static MODERN: Table = Table::new(modern::SIGNATURES);

/// Identifies a payload.
///
/// Takes time in proportion to the length of the payload, and does not panic.
pub fn identify(payload: &Payload<'_>) -> Identification {
    if payload.bytes.is_empty() {
        return fallback::empty(payload);
    }
    let identified = LEGACY.identify(payload).or_else(|| MODERN.identify(payload));
    identified.unwrap_or_else(|| fallback::identify(payload))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The bytes of all payloads of the corpus.
    fn corpus() -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let files = fs::read_dir(folder).expect("the corpus");
        let paths = files.map(|entry| entry.expect("an entry").path());
        let texts = paths.filter(|path| path.extension().is_some_and(|kind| kind == "txt"));
        let texts: Vec<String> =
            texts.map(|path| fs::read_to_string(path).expect("a file")).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let digits = lines
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' ').map(|(_, digits)| digits));
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16);
        let bytes = digits.map(|digits| {
            digits.as_bytes().chunks(2).map(|pair| byte(pair).expect("digits")).collect()
        });
        bytes.collect()
    }

    #[test]
    fn a_signature_that_does_not_match_allocates_nothing() {
        let payloads = corpus();
        assert!(payloads.len() > 500, "the corpus is there");
        let signatures = legacy::SIGNATURES.iter().chain(modern::SIGNATURES).enumerate();
        let mut wrong = Vec::new();
        for (number, signature) in signatures {
            for bytes in &payloads {
                for len in [bytes.len(), bytes.len() / 2] {
                    let payload = Payload { wire_len: bytes.len(), ..Payload::of(&bytes[..len]) };
                    let mut found = None;
                    let allocations = allocation_counter::measure(|| {
                        found = signature.apply(&payload);
                    });
                    if found.is_none() && allocations.count_total > 0 {
                        wrong.push(format!("signature {number}: {:02x?}", payload.bytes));
                        break;
                    }
                }
            }
        }
        wrong.sort();
        wrong.dedup_by_key(|line| line.split(':').next().map(str::to_owned));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
