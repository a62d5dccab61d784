//! Durations and sizes, in the forms that operators write them.

use std::{fmt::Write as _, time::Duration};

/// What [`parse_duration`] takes.
pub const DURATION: &str =
    "a duration from 1s to 100y, as 7d or 1h30m; units, the largest first: y, w, d, h, m, s";

/// What [`parse_size`] takes.
pub const SIZE: &str = "a size from 1MiB to 1024GiB, as 256MiB; units: B, KiB, MiB, GiB";

/// Seconds of the units of a duration, the largest first. A year has 365 days, as it has for
/// Prometheus.
const SECONDS: [(&str, u64); 6] =
    [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// As nanoseconds it fits 64 bits, several times.
const LONGEST_SECONDS: u64 = 100 * SECONDS[0].1;

/// Bytes of the units of a size, the largest first.
const BYTES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A database with its log takes some hundred kilobytes before it holds anything.
const SMALLEST_BYTES: u64 = 1 << 20;
const LARGEST_BYTES: u64 = 1 << 40;

/// Parses numbers with units, the largest unit first and each once: `7d`, `1h30m`.
///
/// `None` for anything else, and for a duration that is shorter or longer than [`DURATION`] says.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut units = SECONDS.iter();
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let (number, unit, after) = quantity(rest)?;
        // Going on from the last unit that was found is what keeps their order.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.checked_mul(*factor)?)?;
        rest = after;
    }
    (1..=LONGEST_SECONDS).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// The shortest form that [`parse_duration`] reads back, in days and less; whole seconds.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (unit, seconds) in &SECONDS[2..] {
        if rest >= *seconds {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", rest / seconds);
            rest %= seconds;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Parses a number of bytes with its unit: `256MiB`.
///
/// `None` for anything else, and for a size that is smaller or larger than [`SIZE`] says.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, rest) = quantity(text)?;
    let (_, factor) = BYTES.iter().find(|(name, _)| *name == unit)?;
    let bytes = number.checked_mul(*factor).filter(|_| rest.is_empty())?;
    (SMALLEST_BYTES..=LARGEST_BYTES).contains(&bytes).then_some(bytes)
}

/// The shortest form that [`parse_size`] reads back.
pub fn format_size(bytes: u64) -> String {
    let exact = BYTES.iter().find(|(_, factor)| bytes.is_multiple_of(*factor));
    exact.map_or_else(String::new, |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// A number, its unit, and what follows.
fn quantity(text: &str) -> Option<(u64, &str, &str)> {
    let (number, rest) = text.split_at(text.find(|char: char| !char.is_ascii_digit())?);
    let end = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    Some((number.parse().ok()?, unit, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let cases = [
            ("10s", 10),
            ("90m", 5_400),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("1w", 604_800),
            ("90d", 7_776_000),
            ("1y", 31_536_000),
            ("1d0h1s", 86_401),
            ("100y", 3_153_600_000),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "7 d",
            "7D",
            "-7d",
            "+7d",
            "1.5h",
            "30m1h",
            "1h1h",
            "0s",
            "7d ",
            "1ms",
            "100y1s",
            "99999999999999999999d",
            "٧d",
            "7d3",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_a_number_with_a_unit() {
        let cases = [
            ("256MiB", 256 << 20),
            ("1GiB", 1 << 30),
            ("2048KiB", 2 << 20),
            ("1048576B", 1 << 20),
            ("1024GiB", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "256", "256MB", "256M", "256 MiB", "1023KiB", "1025GiB", "1GiB1MiB", "-1MiB"]
        {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn the_shortest_form_is_shown() {
        for text in ["7d", "90d", "1h30m", "10s", "365d", "1d1s"] {
            assert_eq!(parse_duration(text).map(format_duration).as_deref(), Some(text));
        }
        for text in ["256MiB", "1GiB", "1025KiB", "1048577B"] {
            assert_eq!(parse_size(text).map(format_size).as_deref(), Some(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            seconds in 1..=LONGEST_SECONDS,
            bytes in SMALLEST_BYTES..=LARGEST_BYTES,
        ) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9ywdhmsKMGiB ]{0,30}|.{0,10}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
