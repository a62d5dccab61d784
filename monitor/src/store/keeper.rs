//! Keeps what it is given as well as the disk allows, and knows what it could not keep.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    database::{Database, KeptLedger, beside},
    error::StoreError,
    record::{Record, nanoseconds},
};
use crate::config::StoreConfig;
use monitor_ledger::Changes;

/// How long a database that cannot be opened is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How often old events are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Damaged databases that are kept; beyond, the oldest goes.
const KEPT_ASIDE: usize = 3;

/// The store, before it has a thread of its own: an open database, or the wish for one.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    database: Option<Database>,
    /// When the next try to open it is due.
    retry_at: Instant,
    forget_at: Instant,
    /// Changes of the ledger that could not be saved yet.
    unsaved: Option<Changes>,
    /// Events lost since the last one that was kept.
    lost: u64,
    /// Whether something is wrong, and said to be.
    ails: bool,
    /// Whether a database was begun that lacks what the ledger has saved before.
    begun_anew: bool,
}

impl Store {
    /// Opens the database, or makes it. One that is damaged is set aside as
    /// `NAME.corrupt-TIME`; where there can be none, the log says so once, and the store tries
    /// again from time to time.
    pub fn open(config: &StoreConfig) -> Self {
        let now = Instant::now();
        let mut store = Self {
            config: config.clone(),
            database: None,
            retry_at: now,
            forget_at: now,
            unsaved: None,
            lost: 0,
            ails: false,
            begun_anew: false,
        };
        if let Err(error) = store.connect() {
            store.complain(&error);
        }
        store.begun_anew = false;
        store
    }

    /// What was last kept of the ledger; `None` if there is nothing that can be gone on with.
    pub fn ledger(&mut self) -> Option<KeptLedger> {
        let ledger = self.database.as_ref()?.ledger();
        ledger
            .inspect_err(|error| {
                tracing::error!("the ledger begins anew: {}: {error}", self.config.path.display());
            })
            .ok()?
    }

    /// Where the database is, or should be.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// Keeps `records`, and `changes` with them, on the disk when it returns. Returns how many of
    /// the records were lost; changes that cannot be kept now are kept with later ones.
    pub fn keep(&mut self, records: &[Record], changes: Option<Changes>) -> u64 {
        if let Some(changes) = changes {
            self.unsaved = Some(merged(self.unsaved.take(), changes));
        }
        let mut rest = records;
        match self.try_keep(&mut rest) {
            Ok(()) => self.recover(),
            Err(error) => {
                self.complain(&error);
                self.lost += rest.len() as u64;
            }
        }
        rest.len() as u64
    }

    /// Whether the ledger has to be saved as a whole, because what was saved before is gone.
    pub(super) fn takes_begun_anew(&mut self) -> bool {
        std::mem::take(&mut self.begun_anew)
    }

    /// Other limits from now on; the path stays.
    pub(super) fn limit(&mut self, config: &StoreConfig) {
        self.config.retain = config.retain;
        self.config.max_size = config.max_size;
        self.forget_at = Instant::now();
        if let Some(Err(error)) =
            self.database.as_mut().map(|database| database.set_max_size(config.max_size))
        {
            self.complain(&error);
        }
    }

    /// Keeps `rest`, or leaves in it what it could not keep.
    fn try_keep(&mut self, rest: &mut &[Record]) -> Result<(), StoreError> {
        self.connect()?;
        match self.write(rest) {
            Err(error) if error.is_corruption() => {
                self.set_aside(&error)?;
                self.connect()?;
                self.write(rest)?;
            }
            Err(error) if error.is_full() => self.keep_in_place_of_older(rest)?,
            result => result?,
        }
        *rest = &[];
        self.unsaved = None;
        if self.forget_at <= Instant::now() {
            self.forget_at = Instant::now() + FORGET_EVERY;
            if let Err(error) = self.forget(0) {
                tracing::warn!("old events are not forgotten: {error}");
            }
        }
        Ok(())
    }

    /// The same where there is no room: it may be full of what need not be kept.
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
        let oldest = Timestamp::now().checked_sub(self.config.retain).unwrap_or(Timestamp::MIN);
        let database = self.database.as_mut();
        database.map_or(Ok(()), |database| database.forget(nanoseconds(oldest), coming))
    }

    /// Opens the database if it is not open, or is no longer the file at its path.
    fn connect(&mut self) -> Result<(), StoreError> {
        if let Some(database) = &self.database {
            if database.is_at(&self.config.path) {
                return Ok(());
            }
            self.database = None;
            self.begun_anew = true;
            self.retry_at = Instant::now();
        }
        let now = Instant::now();
        if now < self.retry_at {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.retry_at = now + RETRY_AFTER;
        self.database = match Database::open(&self.config) {
            Err(error) if error.is_corruption() => {
                self.set_aside(&error)?;
                Some(Database::open(&self.config)?)
            }
            result => Some(result?),
        };
        Ok(())
    }

    /// Moves a damaged database out of the way, with its log: a repair needs both.
    fn set_aside(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.database = None;
        self.retry_at = Instant::now();
        self.begun_anew = true;
        let path = &self.config.path;
        let aside =
            beside(path, &format!(".corrupt-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%fZ")));
        fs::rename(path, &aside)?;
        // Neither need be there.
        let _ = fs::rename(beside(path, "-wal"), beside(&aside, "-wal"));
        let _ = fs::remove_file(beside(path, "-shm"));
        tracing::error!(
            "{} is corrupted ({error}): it is set aside as {}, and the store begins anew",
            path.display(),
            aside.display(),
        );
        remove_older_than_newest(path)?;
        Ok(())
    }

    /// Says that something is wrong, once.
    fn complain(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Sqlite(_)) && !error.is_full() {
            // A file that was removed, or a file system that was mounted again, needs another try.
            self.database = None;
        }
        if !self.ails {
            tracing::error!("events are not kept in {}: {error}", self.config.path.display());
        }
        self.ails = true;
    }

    fn recover(&mut self) {
        if self.ails {
            let path = self.config.path.display();
            tracing::info!("events are kept in {path} again; {} were lost", self.lost);
        }
        self.ails = false;
        self.lost = 0;
    }
}

/// Bytes that a record takes with its places in the indices, roughly and rather too many.
fn size_on_disk(record: &Record) -> u64 {
    (record.line.size() as u64 + 128) * 5 / 4
}

/// Both changes as one: where both say something, the later one is right.
fn merged(earlier: Option<Changes>, mut later: Changes) -> Changes {
    if let Some(earlier) = earlier {
        let mut ports: std::collections::BTreeMap<_, _> = earlier.ports.into_iter().collect();
        ports.extend(later.ports);
        later.ports = ports.into_iter().collect();
    }
    later
}

/// A disk that corrupts one database after the other is not to be filled with them.
fn remove_older_than_newest(path: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let mut aside: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            file.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with(&prefix) && !name.ends_with("-wal")
            })
        })
        .collect();
    // The names end in the time.
    aside.sort();
    for file in aside.iter().rev().skip(KEPT_ASIDE) {
        fs::remove_file(file)?;
        let _ = fs::remove_file(beside(file, "-wal"));
    }
    Ok(())
}
