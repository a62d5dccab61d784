//! The database as its only writer uses it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use monitor_kernel::own_folder::check_file;
use monitor_ledger::Changes;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, ToSql, Transaction, params, types::FromSql,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    age::Age,
    error::StoreError,
    kept_ledger::KeptLedger,
    record::Record,
    schema::{EVENTS, Tables},
};
use crate::config::StoreConfig;

/// How long a write waits for a reader that recovers the log. There is no other writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const PAGE_BYTES: u64 = 4096;

/// Pages of the log at most, before it is written back to the database.
const LOG_PAGES: u64 = 1000;

/// Events deleted in one transaction at most, so that the log stays small.
const DELETE_AT_ONCE: u64 = 20_000;

/// Pages that are left for events that are written before the next check.
const SPARE_PAGES: u64 = 24;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    age: Age,
    max_size: u64,
    file: FileId,
}

/// Device and inode of a file.
pub(super) type FileId = (u64, u64);

/// Which file is at `path`.
pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Database {
    /// Opens or creates the database at `config.path`. Creates its directory if only that is missing.
    pub(super) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = &config.path;
        let connection = open_writable(path, &EVENTS)?;
        let (age, max_size) = (Age::resume(Instant::now()), config.max_size);
        let mut database = Self { connection, age, max_size, file: file_id(path)? };
        database.set_max_size(config.max_size)?;
        Ok(database)
    }

    /// Whether the open file is still the one at `path`. Events in a removed file are lost.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        file_id(path).is_ok_and(|file| file == self.file)
    }

    /// As [`limit_size`].
    pub(super) fn set_max_size(&mut self, max_size: u64) -> Result<(), StoreError> {
        self.max_size = max_size;
        limit_size(&self.connection, max_size)
    }

    /// Commits all of `records` and `changes`, or nothing. After it returns, they survive a power
    /// loss if the disk honours a sync.
    pub(super) fn write(
        &mut self,
        records: &[Record],
        changes: Option<&Changes>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert(&transaction, records)?;
        if let Some(changes) = changes {
            save(&transaction, changes)?;
        }
        Ok(transaction.commit()?)
    }

    /// The ledger as it was last saved; `None` if it never was. A port that cannot be read is left out.
    pub(super) fn ledger(&self) -> Result<Option<KeptLedger>, StoreError> {
        let sql = "SELECT state FROM ledger";
        let saved = self.connection.query_row(sql, [], |row| row.get::<_, String>(0)).optional()?;
        let Some(saved) = saved else { return Ok(None) };
        let ledger = serde_json::from_str(&saved)?;
        let ports = self.states("SELECT port, state FROM ledger_ports", "the history of port")?;
        let listeners = self.states("SELECT id, state FROM listeners", "the listener")?;
        Ok(Some(KeptLedger { ledger, ports, listeners }))
    }

    /// The rows of a number and its state. One that cannot be read is left out, as `what` and its
    /// number.
    fn states<K, T>(&self, sql: &str, what: &str) -> Result<Vec<(K, T)>, StoreError>
    where
        K: FromSql + Display,
        T: DeserializeOwned,
    {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut states = Vec::new();
        while let Some(row) = rows.next()? {
            let number: K = row.get(0)?;
            let state = row.get_ref(1)?;
            match serde_json::from_slice(state.as_bytes().unwrap_or_default()) {
                Ok(state) => states.push((number, state)),
                Err(error) => tracing::error!("{what} {number} cannot be read: {error}"),
            }
        }
        Ok(states)
    }

    /// Deletes events that were kept for longer than `retain`, and as many of the oldest events as
    /// necessary for `coming` more bytes within the size limit.
    pub(super) fn forget(&mut self, retain: Duration, coming: u64) -> Result<(), StoreError> {
        let mut forgotten = match self.expire(retain) {
            // It writes as well, which a full store has no room for.
            Err(error) if error.is_full() => 0,
            result => result?,
        };
        loop {
            let surplus = self.surplus(coming)?;
            let made = if surplus > 0 { self.make_room(surplus)? } else { 0 };
            forgotten += made;
            if made == 0 {
                break;
            }
        }
        if forgotten > 0 {
            // Gives pages at the end of the file back to the file system.
            self.connection.execute_batch("PRAGMA incremental_vacuum")?;
        }
        Ok(())
    }

    /// Deletes events that were kept for longer than `retain`. Returns how many.
    fn expire(&mut self, retain: Duration) -> Result<u64, StoreError> {
        let transaction = self.connection.transaction()?;
        let passed = self.age.passed(Instant::now());
        let newest = Age::advance(&transaction, passed, retain)?;
        let sql = "DELETE FROM events WHERE id IN
            (SELECT id FROM events WHERE id <= ?1 ORDER BY id LIMIT ?2)";
        let forgotten = match newest {
            Some(newest) => transaction.execute(sql, params![newest, DELETE_AT_ONCE as i64])?,
            None => 0,
        };
        transaction.commit()?;
        self.age.commit(passed);
        Ok(forgotten as u64)
    }

    /// Deletes the oldest events of those kinds that have the most, and of such a kind those of the ports
    /// that have the most. So a flood of one kind on one port, which a local user or a remote host can
    /// cause, displaces itself and nothing else; and one on all ports at once displaces no other kind.
    fn make_room(&mut self, surplus: u64) -> Result<u64, StoreError> {
        let transaction = self.connection.transaction()?;
        let kinds = kinds(&transaction)?;
        let sql = "DELETE FROM events WHERE id IN
            (SELECT id FROM events WHERE kind = ?1 AND port IS ?2 ORDER BY id LIMIT ?3)";
        let (mut made, mut statement) = (0, transaction.prepare(sql)?);
        let of_kinds = kinds.values().map(|ports| ports.iter().map(|(_, events)| events).sum());
        for ((kind, ports), excess) in kinds.iter().zip(fair_excess(of_kinds, surplus)) {
            let of_ports = ports.iter().map(|(_, events)| *events);
            for ((port, _), excess) in ports.iter().zip(fair_excess(of_ports, excess)) {
                if excess > 0 {
                    made += statement.execute(params![kind, port, excess as i64])? as u64;
                }
            }
        }
        drop(statement);
        transaction.commit()?;
        Ok(made)
    }

    /// How many events have to be deleted for `coming` more bytes. A tenth of the room is freed at
    /// once, so that this does not happen for every event.
    fn surplus(&self, coming: u64) -> Result<u64, StoreError> {
        let (used, _) = self.pages()?;
        let room = self.page_limit();
        let needed = used + SPARE_PAGES + coming.div_ceil(PAGE_BYTES);
        if needed <= room {
            return Ok(0);
        }
        self.events_in(needed - room * 9 / 10)
    }

    /// Deletes the oldest events until `coming` bytes can be written without growth of the file.
    /// Deletes nothing, and returns `false`, if that would be more than an eighth of what there is.
    pub(super) fn make_room_inside(&mut self, coming: u64) -> Result<bool, StoreError> {
        let needed = SPARE_PAGES + coming.div_ceil(PAGE_BYTES);
        let (used, _) = self.pages()?;
        loop {
            let (_, free) = self.pages()?;
            if free >= needed {
                return Ok(true);
            }
            let surplus = self.events_in(needed)?;
            if needed > used / 8 || self.make_room(surplus)? == 0 {
                return Ok(false);
            }
        }
    }

    /// Pages of the file that are used, and that are free.
    fn pages(&self) -> Result<(u64, u64), StoreError> {
        let pragma =
            |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (all, free) = (pragma("page_count")?, pragma("freelist_count")?);
        Ok(((all - free) as u64, free as u64))
    }

    /// How many events so many pages have, but no more than are deleted at once.
    fn events_in(&self, pages: u64) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM events";
        let events: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        let (used, _) = self.pages()?;
        Ok((events as u64 * pages).div_ceil(used.max(1)).min(DELETE_AT_ONCE))
    }

    /// Bytes that may be written at once: there is always room for them beside the other events.
    pub(super) const fn room_at_once(&self) -> u64 {
        self.page_limit() / 8 * PAGE_BYTES
    }

    const fn page_limit(&self) -> u64 {
        page_limit(self.max_size)
    }
}

/// Opens or creates the database at `path` with these tables, and checks one that was not closed. Creates
/// its directory if only that is missing.
pub(super) fn open_writable(path: &Path, tables: &Tables) -> Result<Connection, StoreError> {
    create_file(path)?;
    let unclean = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before anything is changed: the database may belong to another program.
    tables.checked_version(&connection)?;
    // This has no effect on a database that has tables.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Syncs the log at every commit, so that a commit survives a power loss.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    tables.migrate(&mut connection)?;
    if unclean {
        check(&connection)?;
    }
    Ok(connection)
}

/// Checks for damage. This reads the whole file.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let result: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if result == "ok" { Ok(()) } else { Err(StoreError::Damaged(result)) }
}

/// Limits the size of database and log together: three quarters for the database, up to an eighth for the
/// log, and the rest for the growth of the log while a reader is active.
pub(super) fn limit_size(connection: &Connection, max_size: u64) -> Result<(), StoreError> {
    let log_pages = (max_size / 8 / PAGE_BYTES).min(LOG_PAGES);
    connection.pragma_update(None, "wal_autocheckpoint", log_pages as i64)?;
    let log_bytes = (log_pages * PAGE_BYTES) as i64;
    connection.pragma_update_and_check(None, "journal_size_limit", log_bytes, |_| Ok(()))?;
    // SQLite does not set it below the current size of the database.
    let pages = page_limit(max_size) as i64;
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    Ok(())
}

/// Pages of a database that may take so many bytes with its log.
pub(super) const fn page_limit(max_size: u64) -> u64 {
    max_size / 4 * 3 / PAGE_BYTES
}

/// Numbers of events by kind and port.
type Kinds = BTreeMap<String, Vec<(Option<i64>, u64)>>;

fn kinds(connection: &Connection) -> rusqlite::Result<Kinds> {
    let sql = "SELECT kind, port, count(*) FROM events GROUP BY kind, port";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut kinds = Kinds::new();
    while let Some(row) = rows.next()? {
        let port = (row.get(1)?, row.get::<_, i64>(2)? as u64);
        kinds.entry(row.get(0)?).or_default().push(port);
    }
    Ok(kinds)
}

/// How many events each group gives up, so that they are `surplus` together: those with the most do.
fn fair_excess(groups: impl Iterator<Item = u64>, surplus: u64) -> Vec<u64> {
    let groups: Vec<u64> = groups.collect();
    let level = fair_level(groups.iter().copied(), surplus);
    let mut rest = surplus;
    let excess = |events: u64| {
        let excess = events.saturating_sub(level).min(rest);
        rest -= excess;
        excess
    };
    groups.into_iter().map(excess).collect()
}

/// The number of events that every group may keep, so that at least `surplus` are above it.
fn fair_level(groups: impl Iterator<Item = u64>, surplus: u64) -> u64 {
    let mut sizes: Vec<u64> = groups.collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0;
    for (number, size) in sizes.iter().enumerate() {
        sum += size;
        let next = sizes.get(number + 1).copied().unwrap_or(0);
        let groups = number as u64 + 1;
        // These groups alone have the surplus above the level of the next one.
        if sum - next * groups >= surplus {
            return sum.saturating_sub(surplus) / groups;
        }
    }
    0
}

/// The path with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates the file with a mode of its own, because SQLite would create one that all users can read.
fn create_file(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        DirBuilder::new().mode(0o750).create(directory)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Ok(_) => {
            // A file that was removed may have left them, and a reader of it may have them open.
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(beside(path, suffix));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path)?;
            if found.is_symlink() {
                return Err(io::Error::other("it is a symbolic link"));
            }
            check_file(path, &found)?;
            regular_file(path)?;
            for suffix in ["", "-wal", "-shm"] {
                close_to_others(&beside(path, suffix));
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The identity of a regular file. Anything else may hang those that open it, as a FIFO does.
pub(super) fn regular_file(path: &Path) -> io::Result<FileId> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((metadata.dev(), metadata.ino()))
}

/// Takes from other users what another program may have granted them.
fn close_to_others(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_file()
        && mode & 0o007 != 0
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & !0o007))
    {
        tracing::warn!("other users may read {}: {error}", path.display());
    }
}

fn insert(transaction: &Transaction<'_>, records: &[Record]) -> Result<(), StoreError> {
    let sql = "INSERT INTO events (time_ns, port, kind, line) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = transaction.prepare(sql)?;
    for Record { time_ns, port, kind, line } in records {
        statement.execute(params![time_ns, port, kind, line.json()])?;
    }
    Ok(())
}

fn save(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), StoreError> {
    let state = serde_json::to_string(&changes.ledger)?;
    transaction.execute("INSERT OR REPLACE INTO ledger VALUES (1, ?1)", [state])?;
    replace_states(transaction, ("ledger_ports", "port"), &changes.ports)?;
    replace_states(transaction, ("listeners", "id"), &changes.listeners)
}

/// Replaces rows of a number and its state, and deletes those without a state.
fn replace_states<K: ToSql, T: Serialize>(
    transaction: &Transaction<'_>,
    (table, key): (&str, &str),
    states: &[(K, Option<T>)],
) -> Result<(), StoreError> {
    let mut replace =
        transaction.prepare(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"))?;
    let mut remove = transaction.prepare(&format!("DELETE FROM {table} WHERE {key} = ?1"))?;
    for (number, state) in states {
        match state {
            Some(state) => replace.execute(params![number, serde_json::to_string(state)?])?,
            None => remove.execute([number])?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fair_level;

    #[test]
    fn the_largest_groups_give_way_first() {
        let level = |sizes: &[u64], surplus| fair_level(sizes.iter().copied(), surplus);
        assert_eq!(level(&[100, 10, 5], 20), 80);
        assert_eq!(level(&[100, 10, 5], 90), 10);
        // 43 of the first and 3 of the second.
        assert_eq!(level(&[50, 10, 5], 46), 7);
        // An odd one out: a level above which there are at least as many.
        assert_eq!(level(&[10, 10], 3), 8);
        assert_eq!(level(&[10, 10], 20), 0);
        assert_eq!(level(&[10], 50), 0);
        assert_eq!(level(&[], 1), 0);
    }
}
