//! The policy of the store: retries, damaged databases, and losses.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::statvfs;

use super::{
    database::Database,
    error::StoreError,
    history::{HistoryKeeper, KeptHistory},
    kept_ledger::KeptLedger,
    record::Record,
    set_aside::set_aside,
};
use crate::config::{DiskGuard, StoreConfig};
use monitor_ledger::{Changes, days::ChronicleChanges};

/// Pause before the next attempt to open a database.
const RETRY_PERIOD: Duration = Duration::from_secs(10);

/// How often old events are deleted.
const DELETE_PERIOD: Duration = Duration::from_secs(60);

/// The store: an open database, or one to open later.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    database: Option<Database>,
    history: HistoryKeeper,
    disk: DiskGuard,
    /// When the next attempt to open it is due.
    retry_at: Instant,
    forget_at: Instant,
    /// Changes of the ledger that are not saved yet.
    unsaved: Option<Changes>,
    /// Events lost since the last one that was written.
    lost: u64,
    /// Whether a failure was logged and has not ended.
    has_failed: bool,
    /// Whether a new database was created, without the ledger that was saved before.
    is_new: bool,
}

impl Store {
    /// Opens or creates the database. A damaged one is renamed to `NAME.corrupt-TIME`. A failure is
    /// logged once, and the store tries again from time to time.
    pub fn open(config: &StoreConfig) -> Self {
        let now = Instant::now();
        let mut store = Self {
            config: config.clone(),
            database: None,
            history: HistoryKeeper::open(config),
            disk: DiskGuard::new(config.reserve),
            retry_at: now,
            forget_at: now,
            unsaved: None,
            lost: 0,
            has_failed: false,
            is_new: false,
        };
        if let Err(error) = store.connect() {
            store.complain(&error);
        }
        store.is_new = false;
        store
    }

    /// The ledger as it was last saved; `None` if there is none or it cannot be read.
    pub fn ledger(&mut self) -> Option<KeptLedger> {
        let ledger = self.database.as_ref()?.ledger();
        ledger
            .inspect_err(|error| {
                tracing::error!("the ledger starts empty: {}: {error}", self.config.path.display());
            })
            .ok()?
    }

    /// The history as it was last saved; `None` if there is none or it cannot be read.
    pub fn history(&self) -> Option<KeptHistory> {
        self.history.kept()
    }

    /// Saves changes of the history.
    pub fn keep_history(&mut self, changes: ChronicleChanges) {
        self.history.keep(changes);
    }

    /// Whether a new database of the history was created since the last call.
    pub(super) fn take_is_new_history(&mut self) -> bool {
        self.history.take_is_new()
    }

    /// Path of the database, which may not exist.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// Writes `records` and `changes`; they are on the disk when this returns. Returns how many of the
    /// records were lost. Changes that cannot be written now are written with later ones.
    pub fn keep(&mut self, records: &[Record], changes: Option<Changes>) -> u64 {
        if let Some(changes) = changes {
            self.unsaved = Some(merged(self.unsaved.take(), changes));
        }
        let mut rest = records;
        match self.try_keep(&mut rest) {
            // The ledger alone is kept below the reserve, too, where events are lost.
            Ok(()) if records.is_empty() && self.disk.is_low() => {}
            Ok(()) => self.recover(),
            Err(error) => {
                self.complain(&error);
                self.lost += rest.len() as u64;
            }
        }
        rest.len() as u64
    }

    /// Whether a new database was created since the last call, so that the whole ledger has to be
    /// saved.
    pub(super) fn take_is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Applies the limits of `config`. The path stays.
    pub(super) fn limit(&mut self, config: &StoreConfig) {
        self.config.retain = config.retain;
        self.config.max_size = config.max_size;
        self.disk.set(config.reserve);
        self.history.limit(config);
        self.forget_at = Instant::now();
        if let Some(Err(error)) =
            self.database.as_mut().map(|database| database.set_max_size(config.max_size))
        {
            self.complain(&error);
        }
    }

    /// Writes `rest`, and leaves in it the records that it could not write.
    fn try_keep(&mut self, rest: &mut &[Record]) -> Result<(), StoreError> {
        self.connect()?;
        match self.leave_reserve(rest).and_then(|()| self.write(rest)) {
            Err(error) if error.is_corruption() => {
                self.set_aside(&error)?;
                self.connect()?;
                self.write(rest)?;
            }
            Err(error) if error.is_full() => self.keep_in_place_of_older(rest)?,
            Err(error) if error.is_below_reserve() => self.keep_below_reserve(rest)?,
            result => result?,
        }
        *rest = &[];
        self.unsaved = None;
        self.forget_when_due();
        Ok(())
    }

    fn forget_when_due(&mut self) {
        if self.forget_at > Instant::now() {
            return;
        }
        self.forget_at = Instant::now() + DELETE_PERIOD;
        if let Err(error) = self.forget(0) {
            tracing::warn!("old events are not forgotten: {error}");
        }
    }

    /// Writes the changes of the ledger, whose rows replace themselves, and forgets what is old. Then
    /// writes `records`, if the disk has room for them now, or the file itself has in place of older
    /// events.
    fn keep_below_reserve(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.write(&[])?;
        self.unsaved = None;
        self.forget_when_due();
        let refused = self.leave_reserve(records);
        let coming = records.iter().map(size_on_disk).sum();
        if refused.is_err() && !records.is_empty() {
            let database = self.database.as_mut();
            if !database.map_or(Ok(false), |database| database.make_room_inside(coming))? {
                return refused;
            }
        }
        self.write(records)
    }

    /// Fails if `records` would leave less of the disk than the reserve.
    fn leave_reserve(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let disk = statvfs(&self.config.path).map_err(io::Error::from)?;
        Ok(self.disk.check(disk, records.iter().map(size_on_disk).sum())?)
    }

    /// Writes `rest` where there is no room, in place of older events.
    fn keep_in_place_of_older(&mut self, rest: &mut &[Record]) -> Result<(), StoreError> {
        let at_once = self.database.as_ref().map_or(0, Database::room_at_once);
        loop {
            let mut coming = 0;
            let fits = |record: &&Record| {
                coming += size_on_disk(record);
                coming <= at_once
            };
            let fitting = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (now, later) = rest.split_at(fitting);
            self.forget(now.iter().map(size_on_disk).sum())?;
            self.write(now)?;
            *rest = later;
            if later.is_empty() {
                return Ok(());
            }
        }
    }

    fn write(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let unsaved = self.unsaved.as_ref();
        match &mut self.database {
            Some(database) => database.write(records, unsaved),
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }

    /// Makes room for `coming` bytes within the limits.
    fn forget(&mut self, coming: u64) -> Result<(), StoreError> {
        let retain = self.config.retain;
        self.database.as_mut().map_or(Ok(()), |database| database.forget(retain, coming))
    }

    /// Opens the database unless it is open and still the file at its path.
    fn connect(&mut self) -> Result<(), StoreError> {
        if let Some(database) = &self.database {
            if database.is_at(&self.config.path) {
                return Ok(());
            }
            self.database = None;
            self.is_new = true;
            self.retry_at = Instant::now();
        }
        let now = Instant::now();
        if now < self.retry_at {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.retry_at = now + RETRY_PERIOD;
        self.database = match Database::open(&self.config) {
            Err(error) if error.is_corruption() => {
                self.set_aside(&error)?;
                Some(Database::open(&self.config)?)
            }
            result => Some(result?),
        };
        Ok(())
    }

    /// Renames a damaged database with its log: a repair needs both.
    fn set_aside(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.database = None;
        self.retry_at = Instant::now();
        self.is_new = true;
        Ok(set_aside(&self.config.path, error)?)
    }

    /// Logs a failure, once.
    fn complain(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Sqlite(_)) && !error.is_full() {
            // A removed file or a file system that was mounted again needs another attempt.
            self.database = None;
        }
        if !self.has_failed {
            tracing::error!("events are not kept in {}: {error}", self.config.path.display());
        }
        self.has_failed = true;
    }

    fn recover(&mut self) {
        if self.has_failed {
            let path = self.config.path.display();
            tracing::info!("events are kept in {path} again; {} were lost", self.lost);
        }
        self.has_failed = false;
        self.lost = 0;
    }
}

/// An upper estimate of the bytes of a record with its entries in the indices.
fn size_on_disk(record: &Record) -> u64 {
    (record.line.size() as u64 + 128) * 5 / 4
}

/// Both changes as one. The later one takes precedence.
fn merged(earlier: Option<Changes>, mut later: Changes) -> Changes {
    if let Some(earlier) = earlier {
        later.ports = merged_states(earlier.ports, later.ports);
        later.listeners = merged_states(earlier.listeners, later.listeners);
    }
    later
}

/// The states by their numbers. Those of `later` take precedence.
fn merged_states<K: Ord, T>(earlier: Vec<(K, T)>, later: Vec<(K, T)>) -> Vec<(K, T)> {
    let states: BTreeMap<K, T> = earlier.into_iter().chain(later).collect();
    states.into_iter().collect()
}
