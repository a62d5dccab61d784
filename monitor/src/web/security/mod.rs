//! TLS and basic authentication of the web server, by the file that `web.config_file` names.
//!
//! For each connection and request the metadata of the file, and of those that it names, is compared
//! with that of the last reading, and they are read again after a change: a certificate can be
//! replaced without a restart. That happens on a blocking thread, one at a time and for a bounded
//! time. Where reading fails, takes too long, or finds rules that require less of clients, the
//! previous rules stay in force.

mod error;
mod password;
mod rules;
#[cfg(test)]
mod tests;
mod tls;
mod turns;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

pub use self::error::SecurityError;
pub(super) use self::{password::Verified, rules::Rules};
use crate::config::FileStamp;

/// Time for the files to be looked at before a request is served by the rules in force.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// The rules of the file, read again after a change.
#[derive(Debug)]
pub struct Security {
    path: PathBuf,
    current: Mutex<Current>,
    /// Serializes looks at the files.
    look: Arc<Semaphore>,
    /// Whether the last look has not ended in time: nothing waits for it then.
    hangs: AtomicBool,
}

#[derive(Clone, Debug)]
struct Current {
    rules: Arc<Rules>,
    /// Metadata of the files at the last reading, successful or not.
    stamps: Vec<FileStamp>,
}

/// Rules that are read and not in force yet: see [`Security::prepare`].
#[derive(Debug)]
pub struct PreparedRules(Current);

impl Security {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    /// The file, a certificate or a key cannot be read or is invalid.
    pub fn load(path: &Path) -> Result<Self, SecurityError> {
        Ok(Self {
            path: path.to_owned(),
            current: Mutex::new(Current::load(path)?),
            look: Arc::new(Semaphore::new(1)),
            hangs: AtomicBool::new(false),
        })
    }

    /// Reads the files again. Their rules are in force after [`Self::replace`].
    ///
    /// # Errors
    /// As [`Self::load`]; and if they require less of clients than those in force, so that a file that
    /// is empty or half written opens nothing.
    pub fn prepare(&self) -> Result<PreparedRules, SecurityError> {
        let next = Current::load(&self.path)?;
        match self.current().rules.given_up_by(&next.rules) {
            None => Ok(PreparedRules(next)),
            Some(given_up) => Err(SecurityError::Weaker { path: self.path.clone(), given_up }),
        }
    }

    /// Puts rules in force for connections and requests from now on.
    pub fn replace(&self, PreparedRules(next): PreparedRules) {
        *self.current() = next;
    }

    /// The rules for a connection or a request that begins now.
    pub(super) async fn rules(self: &Arc<Self>) -> Arc<Rules> {
        let look = async {
            let Ok(turn) = Arc::clone(&self.look).acquire_owned().await else { return };
            let security = Arc::clone(self);
            let looked = spawn_blocking(move || {
                security.look_at_files();
                drop(turn);
                security.hangs.store(false, Ordering::SeqCst);
            });
            let _ = looked.await;
        };
        if !self.hangs.load(Ordering::SeqCst) && timeout(LOOK_LIMIT, look).await.is_err() {
            tracing::error!(
                file = %self.path.display(),
                "the web configuration, or a file that it names, cannot be looked at in time: the \
                 old one stays in force"
            );
            self.hangs.store(true, Ordering::SeqCst);
            // The look may have ended just now.
            if self.look.available_permits() > 0 {
                self.hangs.store(false, Ordering::SeqCst);
            }
        }
        Arc::clone(&self.current().rules)
    }

    /// Reads the files again if they have changed.
    fn look_at_files(&self) {
        let before = self.current().clone();
        let stamps = self.stamps(&before.rules.files);
        if stamps == before.stamps {
            return;
        }
        match self.prepare() {
            Ok(next) => {
                tracing::info!(file = %self.path.display(), "the web configuration was read again");
                self.replace(next);
            }
            Err(error) => {
                tracing::error!("the old web configuration stays in force: {error}");
                self.current().stamps = stamps;
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
