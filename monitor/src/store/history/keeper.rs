//! The policy of the history: retries, damaged databases, and limits.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use monitor_ledger::days::ChronicleChanges;
use rustix::fs::statvfs;

use super::{
    database::{HistoryDatabase, KeptHistory},
    path::history_path,
};
use crate::{
    config::{DiskGuard, StoreConfig},
    store::{error::StoreError, set_aside::set_aside},
};

/// Pause before the next attempt to open the database.
const RETRY_PERIOD: Duration = Duration::from_secs(10);

/// How often old days are deleted.
const DELETE_PERIOD: Duration = Duration::from_secs(3600);

/// The history: an open database, or one to open later.
#[derive(Debug)]
pub(in crate::store) struct HistoryKeeper {
    path: PathBuf,
    keep: Duration,
    max_size: u64,
    database: Option<HistoryDatabase>,
    disk: DiskGuard,
    retry_at: Instant,
    forget_at: Instant,
    /// Changes that are not saved yet.
    unsaved: Option<ChronicleChanges>,
    has_failed: bool,
    /// Whether a new database was created in place of another one.
    is_new: bool,
}

impl HistoryKeeper {
    /// Opens or creates the database; tries again later if that fails.
    pub(in crate::store) fn open(config: &StoreConfig) -> Self {
        let now = Instant::now();
        let mut keeper = Self {
            path: history_path(&config.path),
            keep: config.history,
            max_size: config.max_size,
            database: None,
            disk: DiskGuard::new(config.reserve),
            retry_at: now,
            forget_at: now,
            unsaved: None,
            has_failed: false,
            is_new: false,
        };
        if let Err(error) = keeper.connect() {
            keeper.complain(&error);
        }
        keeper.is_new = false;
        keeper
    }

    /// The history as it was last saved.
    pub(in crate::store) fn kept(&self) -> Option<KeptHistory> {
        let path = self.path.display();
        let kept = self.database.as_ref()?.kept();
        kept.inspect_err(|error| tracing::error!("the history begins now: {path}: {error}")).ok()?
    }

    /// Whether a new database was created since the last call.
    pub(in crate::store) fn take_is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Applies the limits of `config`.
    pub(in crate::store) fn limit(&mut self, config: &StoreConfig) {
        (self.keep, self.max_size) = (config.history, config.max_size);
        self.disk.set(config.reserve);
        self.forget_at = Instant::now();
        let limited = self.database.as_mut().map(|database| database.set_max_size(config.max_size));
        if let Some(Err(error)) = limited {
            self.complain(&error);
        }
    }

    /// Saves changes, with those that could not be saved before. Those that cannot be saved now are saved
    /// with later ones.
    pub(in crate::store) fn keep(&mut self, changes: ChronicleChanges) {
        let changes = match self.unsaved.take() {
            Some(earlier) => earlier.followed_by(changes),
            None => changes,
        };
        match self.try_keep(&changes) {
            Ok(()) => {
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("the history is kept in {} again", self.path.display());
                }
            }
            Err(error) => {
                self.complain(&error);
                self.unsaved = Some(self.what_fits(changes, &error));
            }
        }
    }

    fn try_keep(&mut self, changes: &ChronicleChanges) -> Result<(), StoreError> {
        self.connect()?;
        // A day is at most 4 KiB, and the log has it once more.
        let coming = (changes.days.len() as u64 + 1) * 2 * 4096;
        self.disk.check(statvfs(&self.path).map_err(std::io::Error::from)?, coming)?;
        loop {
            let Some(database) = &mut self.database else {
                return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
            };
            match database.write(changes) {
                Err(error) if error.is_corruption() => {
                    self.replace(&error)?;
                    continue;
                }
                Err(error) if error.is_full() && database.make_room()? => continue,
                result => result?,
            }
            break;
        }
        if self.forget_at <= Instant::now() {
            self.forget_at = Instant::now() + DELETE_PERIOD;
            let days = self.keep.as_secs().div_ceil(86_400);
            if let Some(Err(error)) = self.database.as_mut().map(|database| database.forget(days)) {
                tracing::warn!("old days are not forgotten: {error}");
            }
        }
        Ok(())
    }

    /// What is saved later: where even the days before this one leave no room, not the days of ports.
    fn what_fits(&self, mut changes: ChronicleChanges, error: &StoreError) -> ChronicleChanges {
        if error.is_full() {
            let lost = changes.days.len() as u64;
            changes.days.clear();
            changes.states.clear();
            if let Some(mut day) = changes.host.last_entry() {
                day.get_mut().unkept += lost;
            }
        }
        changes
    }

    fn connect(&mut self) -> Result<(), StoreError> {
        if let Some(database) = &self.database {
            if database.is_at(&self.path) {
                return Ok(());
            }
            self.database = None;
            self.is_new = true;
            self.retry_at = Instant::now();
        }
        let now = Instant::now();
        if now < self.retry_at {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        self.retry_at = now + RETRY_PERIOD;
        match HistoryDatabase::open(&self.path, self.max_size) {
            Err(error) if error.is_corruption() => self.replace(&error)?,
            result => self.database = Some(result?),
        }
        Ok(())
    }

    /// Sets a damaged database aside, and creates another one.
    fn replace(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.database = None;
        self.is_new = true;
        set_aside(&self.path, error)?;
        self.database = Some(HistoryDatabase::open(&self.path, self.max_size)?);
        Ok(())
    }

    /// Logs a failure, once.
    fn complain(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Sqlite(_)) && !error.is_full() {
            self.database = None;
        }
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::error!("the history is not kept in {}: {error}", self.path.display());
        }
    }
}
