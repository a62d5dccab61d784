//! Glob patterns of names and paths.

use std::{fmt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};

/// What makes a name a glob.
const SPECIAL: [char; 4] = ['*', '?', '[', '{'];

/// A glob of names or paths, as `eth*` or `/usr/*/nc`, or one exact name.
///
/// A `*` does not match `/`, two of them do; a backslash is a character as any other.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None` for an exact name, which needs no matcher.
    matcher: Option<GlobMatcher>,
}

/// A text that is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` cannot be used: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

impl Pattern {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(name),
            None => self.text == name,
        }
    }

    /// Whether it means every name that `other` means. Where that is not certain, it does not.
    pub fn covers(&self, other: &Self) -> bool {
        // Of a glob without `**`, sets and alternatives, what it leaves open is within one part of a
        // path. A star that matches its text there matches every name.
        let is_simple = |text: &str| !text.contains(['[', '{']) && !text.contains("**");
        let has_stars_alone = !self.text.contains(['?', '[', '{']);
        self == other
            || (self.matches(&other.text)
                && (other.is_exact() || (has_stars_alone && is_simple(&other.text))))
    }

    /// Whether one name alone is meant.
    pub fn is_exact(&self) -> bool {
        self.matcher.is_none()
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PatternError {
    pub(super) fn new(pattern: &str, why: impl Into<String>) -> Self {
        Self { pattern: super::yaml::excerpt(pattern), why: why.into() }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::new(text, "it is empty and would match nothing"));
        }
        let matcher = if text.contains(SPECIAL) { Some(matcher(text)?) } else { None };
        Ok(Self { text: text.to_owned(), matcher })
    }
}

fn matcher(text: &str) -> Result<GlobMatcher, PatternError> {
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| PatternError::new(text, error.kind().to_string()))
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
        assert!(matches("/usr/*/nc", "/usr/bin/nc") && !matches("/usr/*", "/usr/bin/nc"));
        assert!(matches(r"a\x2db", r"a\x2db") && matches(r"a\x*", r"a\x2db"));
    }

    #[test]
    fn what_is_no_glob_says_why() {
        let error = |text: &str| text.parse::<Pattern>().expect_err("no glob").to_string();
        assert!(error("eth[").starts_with("the pattern `eth[` cannot be used: "));
        assert!(error("").contains("empty"));
    }
}
