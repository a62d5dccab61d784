//! TLS and basic authentication of the web server, by the file that `web.config_file` names.
//!
//! For each connection and request the metadata of the file, and of those that it names, is compared
//! with that of the last reading, and they are read again after a change: a certificate can be
//! replaced without a restart. The comparison takes a few system calls. Where reading fails, the
//! previous rules stay in force.

mod password;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::ServerConfig;

use self::{password::Passwords, tls::TlsError};
use crate::config::{ConfigError, FileStamp, WebFile};

/// The rules of the file, read again after a change.
#[derive(Debug)]
pub struct Security {
    path: PathBuf,
    current: Mutex<Current>,
}

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
}

#[derive(Debug)]
struct Current {
    rules: Arc<Rules>,
    /// Metadata of the files at the last reading, successful or not.
    stamps: Vec<FileStamp>,
}

/// Rules that are read and not in force yet: see [`Security::prepare`].
#[derive(Debug)]
pub struct PreparedRules(Current);

/// What the server requires of its clients.
#[derive(Debug)]
pub(super) struct Rules {
    tls: Option<Arc<ServerConfig>>,
    passwords: Arc<Passwords>,
    headers: Vec<(HeaderName, HeaderValue)>,
    files: Vec<PathBuf>,
}

impl Security {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    /// The file, a certificate or a key cannot be read or is invalid.
    pub fn load(path: &Path) -> Result<Self, SecurityError> {
        let current = Mutex::new(Current::load(path)?);
        Ok(Self { path: path.to_owned(), current })
    }

    /// Reads the files again. Their rules are in force after [`Self::replace`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn prepare(&self) -> Result<PreparedRules, SecurityError> {
        Current::load(&self.path).map(PreparedRules)
    }

    /// Puts rules in force for connections and requests from now on.
    pub fn replace(&self, PreparedRules(next): PreparedRules) {
        *self.current() = next;
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let mut current = self.current();
        let stamps = self.stamps(&current.rules.files);
        if stamps != current.stamps {
            self.read_again(&mut current, stamps);
        }
        Arc::clone(&current.rules)
    }

    fn read_again(&self, current: &mut Current, stamps: Vec<FileStamp>) {
        match Current::load(&self.path) {
            Ok(next) => {
                tracing::info!(file = %self.path.display(), "the web configuration was read again");
                *current = next;
            }
            Err(error) => {
                tracing::error!("the old web configuration stays in force: {error}");
                current.stamps = stamps;
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamps(&self, files: &[PathBuf]) -> Vec<FileStamp> {
        let files = files.iter().map(PathBuf::as_path);
        std::iter::once(self.path.as_path()).chain(files).map(FileStamp::of).collect()
    }
}

impl Current {
    fn load(path: &Path) -> Result<Self, SecurityError> {
        // Metadata first: a change in between is noticed the next time.
        let seen = FileStamp::of(path);
        let rules = Rules::load(path)?;
        let stamps =
            std::iter::once(seen).chain(rules.files.iter().map(|f| FileStamp::of(f))).collect();
        Ok(Self { rules: Arc::new(rules), stamps })
    }
}

impl Rules {
    fn load(path: &Path) -> Result<Self, SecurityError> {
        let file = WebFile::load(path)?;
        let files = file.files().map(Path::to_owned).collect();
        let tls = file.tls.as_ref().map(tls::server_config).transpose();
        let tls = tls.map_err(|source| SecurityError::Tls { path: path.to_owned(), source })?;
        let WebFile { users, headers, .. } = file;
        Ok(Self {
            tls: tls.map(Arc::new),
            passwords: Arc::new(Passwords::new(users)),
            headers,
            files,
        })
    }

    /// TLS; `None` for plain connections.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// Whether every request needs a password.
    pub(super) fn asks_for_password(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// Whether these headers have the name and the password of a user.
    pub(super) async fn knows(&self, headers: &HeaderMap) -> bool {
        match password::credentials(headers) {
            Some(credentials) => self.passwords.check(credentials).await,
            None => false,
        }
    }

    /// Adds the headers that every response has.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}
