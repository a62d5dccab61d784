//! Glob patterns of interface names.

use std::{fmt, str::FromStr};

use globset::{Glob, GlobMatcher};

/// A glob of interface names, as `eth*`, or one exact name.
#[derive(Clone, Debug)]
pub struct Pattern {
    matcher: GlobMatcher,
}

/// A text that is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` is not a glob: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

impl Pattern {
    /// Whether `interface` is meant.
    pub fn matches(&self, interface: &str) -> bool {
        self.matcher.is_match(interface)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.matcher.glob().glob()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |why: String| PatternError { pattern: super::yaml::excerpt(text), why };
        if text.is_empty() {
            return Err(error("it is empty and would match nothing".into()));
        }
        match Glob::new(text) {
            Ok(glob) => Ok(Self { matcher: glob.compile_matcher() }),
            Err(glob) => Err(error(glob.kind().to_string())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        let matches =
            |pattern: &str, name: &str| pattern.parse::<Pattern>().expect("a glob").matches(name);
        assert!(matches("*", "lo"));
        assert!(matches("veth*", "veth1a2b"));
        assert!(!matches("veth*", "myveth"));
        assert!(matches("eth[0-3]", "eth2"));
        assert!(matches("eth0", "eth0"));
        assert!(!matches("eth0", "eth01"));
        assert!(matches("br-*", "br-lan.7"));
    }

    #[test]
    fn what_is_no_glob_says_why() {
        let error = |text: &str| text.parse::<Pattern>().expect_err("no glob").to_string();
        assert!(error("eth[").starts_with("the pattern `eth[` is not a glob: "));
        assert!(error("").contains("empty"));
    }
}
