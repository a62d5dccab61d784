//! Ports in a row, as `9200-9203`, or one alone.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use super::yaml::excerpt;

/// Ports from the first to the last one, neither of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a text names no ports.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PortRangeError {
    /// It is neither a number nor two with a `-` between them.
    #[error("`{0}` is not a port")]
    NoPort(String),
    /// There is no port of this number.
    #[error("port {0} does not exist")]
    NotThere(String),
    /// The last port is below the first one.
    #[error("{0} ends before it begins")]
    Reversed(PortRange),
}

impl PortRange {
    /// What a text has to be.
    pub const EXPECTED: &'static str = "a port from 1 to 65535, or a range as 9200-9203";

    /// From one port to another one, in either order.
    pub fn between(one: u16, other: u16) -> Self {
        Self { first: one.min(other), last: one.max(other) }
    }

    /// All of its ports.
    pub const fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The first port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = |text: &str| match text.parse() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(PortRangeError::NotThere(excerpt(text).to_string())),
        };
        // A negative number is a port that does not exist.
        if is_number(text.strip_prefix('-').unwrap_or(text)) {
            return number(text).map(Self::from);
        }
        let ends = text.split_once('-').filter(|(first, last)| is_number(first) && is_number(last));
        let Some((first, last)) = ends else {
            return Err(PortRangeError::NoPort(excerpt(text).to_string()));
        };
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first > range.last { Err(PortRangeError::Reversed(range)) } else { Ok(range) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::PortRange;

    fn error(text: &str) -> String {
        text.parse::<PortRange>().expect_err("an error").to_string()
    }

    #[test]
    fn reads_ports_and_ranges() {
        for (text, ports) in [("1", 1..=1), ("65535", 65_535..=65_535), ("9200-9203", 9200..=9203)]
        {
            assert_eq!(text.parse().map(PortRange::ports), Ok(ports), "{text}");
        }
    }

    #[test]
    fn refuses_what_names_no_ports() {
        for text in ["", "-", "x", "1-", "1-2-3", "1 - 2", "1..2", "+1", "1-x"] {
            assert_eq!(error(text), format!("`{text}` is not a port"));
        }
        assert_eq!(error("0"), "port 0 does not exist");
        assert_eq!(error("-5"), "port -5 does not exist");
        assert_eq!(error("65536"), "port 65536 does not exist");
        assert_eq!(error("0-9"), "port 0 does not exist");
        assert_eq!(error("9200-92030"), "port 92030 does not exist");
        assert_eq!(error("9203-9200"), "9203-9200 ends before it begins");
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(first in 1_u16.., length in any::<u16>()) {
            let range = PortRange { first, last: first.saturating_add(length) };
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }
    }
}
