//! TLS and basic authentication of the web server, by the file that `web.config_file` names.
//!
//! The file and those that it names are looked at whenever a connection or a request comes, and read
//! again if they are not those that were read: a certificate is replaced without a restart. A look is
//! a few system calls. What cannot be read leaves what was read before in force.

mod password;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::ServerConfig;

use self::{password::Passwords, tls::TlsError};
use crate::config::{ConfigError, WebFile};

/// What the file asks for, read again when it has changed.
#[derive(Debug)]
pub struct Security {
    path: PathBuf,
    current: Mutex<Current>,
}

/// Why what the file asks for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The file itself is wrong.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A certificate or a key is.
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
    /// What the files looked like when they were read, well or not.
    stamps: Vec<Stamp>,
}

/// What the files ask for, and is not in force yet: see [`Security::prepare`].
#[derive(Debug)]
pub struct PreparedRules(Current);

/// What is asked of those who connect.
#[derive(Debug)]
pub(super) struct Rules {
    tls: Option<Arc<ServerConfig>>,
    passwords: Arc<Passwords>,
    headers: Vec<(HeaderName, HeaderValue)>,
    files: Vec<PathBuf>,
}

/// By which a file is known to have changed; `None` for one that is not there.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

impl Security {
    /// Reads the file and those that it names.
    pub fn load(path: &Path) -> Result<Self, SecurityError> {
        let current = Mutex::new(Current::load(path)?);
        Ok(Self { path: path.to_owned(), current })
    }

    /// Reads the files again; what they ask for is in force once it is given to [`Self::replace`].
    pub fn prepare(&self) -> Result<PreparedRules, SecurityError> {
        Current::load(&self.path).map(PreparedRules)
    }

    /// Asks for this from the next connection and request on.
    pub fn replace(&self, PreparedRules(next): PreparedRules) {
        *self.current() = next;
    }

    /// What is asked now.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let mut current = self.current();
        let stamps = self.stamps(&current.rules.files);
        if stamps != current.stamps {
            self.read_again(&mut current, stamps);
        }
        Arc::clone(&current.rules)
    }

    fn read_again(&self, current: &mut Current, stamps: Vec<Stamp>) {
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

    fn stamps(&self, files: &[PathBuf]) -> Vec<Stamp> {
        let files = files.iter().map(PathBuf::as_path);
        std::iter::once(self.path.as_path()).chain(files).map(stamp).collect()
    }
}

impl Current {
    fn load(path: &Path) -> Result<Self, SecurityError> {
        // The stamps come first: a change in between is seen the next time.
        let seen = stamp(path);
        let rules = Rules::load(path)?;
        let stamps = std::iter::once(seen).chain(rules.files.iter().map(|f| stamp(f))).collect();
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

    /// How connections are ciphered; `None` for not at all.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// Whether everybody is asked for a password.
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

    /// Adds what every answer has.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}
