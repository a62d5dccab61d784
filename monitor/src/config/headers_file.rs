//! The file with headers of an HTTP sink: one `Name: value` a line, with comments.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use axum::http::{HeaderName, HeaderValue, header};

use super::{
    error::ConfigError,
    source::{read, text},
    yaml::{Position, Problem},
};

const EXPECTED: &str = "`Name: value`, a comment that begins with #, or an empty line";

/// Headers that the client sets itself.
const OWN: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::HOST, header::TRANSFER_ENCODING];

/// Headers of requests. Their values are secrets and are never shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadersFile(Vec<(HeaderName, HeaderValue)>);

impl HeadersFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no header.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let headers = text(read(path)?).and_then(|text| headers(&text));
        headers.map(Self).map_err(|problem| ConfigError::invalid(path.to_owned(), problem))
    }

    /// The headers, of which no name is there twice.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// A warning if users other than the owner and its group may read the file.
    pub fn exposure(path: &Path) -> Option<String> {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
        let path = path.display();
        (mode & 0o004 != 0)
            .then(|| format!("{path} has secrets, and its mode {mode:o} lets every user read it"))
    }
}

fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // No part of a value is shown: it is a secret.
        let problem = |column: usize, message: String| {
            let position = Position { line: number, column: column as u32 + 1 };
            Problem::new(position, message, EXPECTED)
        };
        let Some((name, value)) = line.split_once(':') else {
            return Err(problem(0, "this is no header".into()));
        };
        let Ok(name) = name.parse::<HeaderName>() else {
            return Err(problem(0, "this is not the name of a header".into()));
        };
        if OWN.contains(&name) {
            return Err(problem(0, format!("the header {name} is set by the agent")));
        }
        if headers.iter().any(|(known, _)| *known == name) {
            return Err(problem(0, format!("the header {name} is there twice")));
        }
        let Ok(mut value) = value.trim().parse::<HeaderValue>() else {
            let column = name.as_str().len() + 1;
            return Err(problem(column, format!("the value of {name} has a control character")));
        };
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_and_hides_their_values() {
        let read = headers("# of the team\nAuthorization: Splunk a:b c\n\nX-Key:1\r\n");
        let read = HeadersFile(read.expect("headers"));
        let shown: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(shown, [("authorization", &b"Splunk a:b c"[..]), ("x-key", b"1")]);
        assert!(!format!("{read:?}").contains("Splunk"), "{read:?}");
    }

    #[test]
    fn errors_have_a_place_and_no_secret() {
        for (text, place, message) in [
            ("X: 1\nsecret", "2:1", "this is no header"),
            ("secret of: x", "1:1", "this is not the name of a header"),
            ("X: secret\u{1}", "1:3", "the value of x has a control character"),
            ("A: 1\nHost: secret", "2:1", "the header host is set by the agent"),
            ("A: secret\na: secret", "2:1", "the header a is there twice"),
        ] {
            let problem = headers(text).expect_err(text);
            assert_eq!(
                (problem.position.to_string().as_str(), &*problem.message),
                (place, message)
            );
        }
    }
}
