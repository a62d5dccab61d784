//! Why the file cannot be applied.

use std::path::PathBuf;

use super::tls::TlsError;
use crate::config::ConfigError;

/// Why the file cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The file itself is invalid.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A certificate or a key is invalid.
    #[error("{}: {source}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TlsError,
    },
    /// A running server would require less of its clients.
    #[error("{}: {given_up}: a running agent does not give that up; restart it if that is meant", path.display())]
    Weaker {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        given_up: &'static str,
    },
}
