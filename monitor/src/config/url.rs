//! Addresses of HTTP servers that events are sent to.

use std::{fmt, num::NonZeroU16, str::FromStr};

use axum::http::{Uri, uri::Authority};

/// What a [`HttpUrl`] may be.
pub(super) const EXPECTED: &str = "a URL, as http://127.0.0.1:9093 or https://example.org/hook";

/// The URL of an HTTP server: with a scheme and a host, and without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(Uri);

/// Why a text is no [`HttpUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It has no form of a URL.
    #[error("this is not a URL")]
    Malformed,
    /// It is neither http nor https.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// The port is no number from 1 to 65535; a client would take the scheme's own instead.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A client would have to send them in a header, which nothing here does.
    #[error("credentials in a URL are not supported")]
    Credentials,
}

impl HttpUrl {
    /// The URL itself.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// The URL with `path` after its own path; its query is left out.
    pub fn join(&self, path: &str) -> Uri {
        let own = self.0.path().trim_end_matches('/');
        let mut parts = self.0.clone().into_parts();
        // Both halves are paths already.
        parts.path_and_query = format!("{own}{path}").parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone())
    }

    /// Whether the connection is ciphered.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Scheme and host, which may be logged. The path can be a secret.
    pub fn origin(&self) -> String {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.0.scheme_str().unwrap_or_default())
    }
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(UrlError::Malformed);
        }
        if !has_usable_port(authority) {
            return Err(UrlError::Port);
        }
        match uri.scheme_str() {
            Some("http" | "https") => Ok(Self(uri)),
            Some(_) => Err(UrlError::Scheme),
            None => Err(UrlError::Malformed),
        }
    }
}

/// Whether a port that is named is one.
fn has_usable_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    match port.strip_prefix(':') {
        Some(port) => port.parse::<NonZeroU16>().is_ok(),
        None => port.is_empty(),
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> UrlError {
        text.parse::<HttpUrl>().expect_err(text)
    }

    #[test]
    fn paths_are_joined() {
        for (base, joined) in [
            ("http://a:1", "http://a:1/api/v2/alerts"),
            ("http://a:1/", "http://a:1/api/v2/alerts"),
            ("https://[::1]/am/?x=1", "https://[::1]/am/api/v2/alerts"),
        ] {
            let url: HttpUrl = base.parse().expect(base);
            assert_eq!(url.join("/api/v2/alerts").to_string(), joined);
        }
    }

    #[test]
    fn a_path_may_be_a_secret() {
        let url: HttpUrl = "https://hooks.example.org/services/T0/s3cret".parse().expect("a URL");
        assert_eq!(url.origin(), "https://hooks.example.org");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in ["", "example.org", "/hook", "http://", "http:///x", "http://a b/"] {
            assert_eq!(error(text), UrlError::Malformed, "{text}");
        }
        for port in ["99999", "65536", "0", "abc", ""] {
            assert_eq!(error(&format!("http://example.org:{port}/")), UrlError::Port, "{port}");
            assert_eq!(error(&format!("http://[::1]:{port}/")), UrlError::Port, "{port}");
        }
        assert_eq!(error("ftp://example.org/"), UrlError::Scheme);
        assert_eq!(error("http://user:secret@example.org/"), UrlError::Credentials);
    }
}
