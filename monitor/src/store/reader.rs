//! Read-only access to the stored events, also while the agent writes.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use monitor_ledger::listeners::Entry;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter, types::Value};
use serde::de::IgnoredAny;

use super::{
    database::{FileId, beside, file_id, regular_file},
    error::StoreError,
    filter::{Condition, Filter},
    schema::{EVENTS, Tables},
};

/// How long a reader waits for the log to be recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Events read in one transaction. The log cannot be written back past an open transaction, so none
/// may stay open while its reader waits for its own output.
const PAGE: u32 = 500;

/// The position of an event in the store. No other event ever has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(i64);

/// Why the store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no store.
    #[error("there is no store at {}: the agent (`ghostport run`) makes one; --config FILE names the configuration that says where", .0.display())]
    Missing(PathBuf),
    /// The store cannot be opened or read.
    #[error("cannot read the store at {}: {source}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: StoreError,
    },
}

impl ReadError {
    /// The path of a store that this process may not read; `None` for another error.
    pub fn forbidden(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, source: StoreError::Io(error) }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(path)
            }
            // SQLite does not say why it cannot open a file.
            Self::Unreadable { path, source: StoreError::Sqlite(_) } => {
                let opened = File::open(path).map_err(|error| error.kind());
                matches!(opened, Err(io::ErrorKind::PermissionDenied)).then_some(&**path)
            }
            _ => None,
        }
    }
}

/// A reader of the store.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    /// Identity of the open file.
    file: FileId,
    /// Rows so far that are no event.
    unreadable: Cell<u64>,
}

impl Reader {
    /// Opens the store at `path` read-only.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = regular_file(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Missing(path.to_owned()),
            _ => unreadable(path, error),
        })?;
        let (connection, version) =
            connect(path, &EVENTS).map_err(|source| unreadable(path, source))?;
        if version == 0 {
            // The agent is about to create the tables.
            return Err(ReadError::Missing(path.to_owned()));
        }
        Ok(Self { connection, path: path.to_owned(), file, unreadable: Cell::new(0) })
    }

    /// Passes the events that `filter` selects to `show`, oldest first, until `show` breaks. Returns
    /// the position of the last event, for [`Self::each_after`].
    pub fn each(
        &self,
        filter: &Filter,
        show: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Place, ReadError> {
        let begin = self.begin(filter).map_err(|error| unreadable(&self.path, error))?;
        self.each_after(begin, filter, show)
    }

    /// Like [`Self::each`], for the events after `place`.
    pub fn each_after(
        &self,
        place: Place,
        filter: &Filter,
        mut show: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Place, ReadError> {
        let failed = |error| unreadable(&self.path, error);
        let end = self.last().map_err(failed)?;
        let mut shown = place;
        loop {
            let page = self.page(filter, shown.0, end.0, "ASC").map_err(failed)?;
            if page.is_empty() {
                return Ok(shown.max(end));
            }
            for (place, line) in page {
                shown = place;
                if self.readable(line).is_some_and(|line| show(&line).is_break()) {
                    return Ok(shown);
                }
            }
        }
    }

    /// The baseline of listeners and what is outside of it, as the agent last saved them. Rows that cannot
    /// be read are left out.
    pub fn listeners(&self) -> Result<Vec<Entry>, ReadError> {
        self.saved_listeners().map_err(|error| unreadable(&self.path, error))
    }

    fn saved_listeners(&self) -> rusqlite::Result<Vec<Entry>> {
        if !self.connection.table_exists(None, "listeners")? {
            // An agent of an earlier version has not saved any.
            return Ok(Vec::new());
        }
        let mut statement = self.connection.prepare("SELECT state FROM listeners ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            let state = row.get_ref(0)?;
            Ok(serde_json::from_slice(state.as_bytes().unwrap_or_default()).ok())
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    /// How many of the selected rows were skipped so far, because they are not JSON in UTF-8.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.get()
    }

    /// Whether another file is at the path now, for example after a damaged one was set aside.
    pub fn was_replaced(&self) -> bool {
        file_id(&self.path).is_ok_and(|file| file != self.file)
    }

    /// Passes the events that `filter` selects to `show`, newest first, until `show` breaks.
    pub fn each_backwards(
        &self,
        filter: &Filter,
        mut show: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let failed = |error| unreadable(&self.path, error);
        let Place(first) = self.begin(filter).map_err(failed)?;
        let Place(mut end) = self.last().map_err(failed)?;
        loop {
            let page = self.page(filter, first, end, "DESC").map_err(failed)?;
            if page.is_empty() {
                return Ok(());
            }
            for (Place(place), line) in page {
                end = place - 1;
                if self.readable(line).is_some_and(|line| show(&line).is_break()) {
                    return Ok(());
                }
            }
        }
    }

    /// The line of an event; counts a row that is none.
    fn readable(&self, line: Option<String>) -> Option<String> {
        if line.is_none() {
            self.unreadable.set(self.unreadable.get() + 1);
        }
        line
    }

    /// Selected events after `after` and up to `end`, in the order of their ids.
    fn page(
        &self,
        filter: &Filter,
        after: i64,
        end: i64,
        order: &str,
    ) -> rusqlite::Result<Vec<(Place, Option<String>)>> {
        let Condition { sql, values } = Condition::of(filter);
        let sql = format!(
            "SELECT id, line FROM events WHERE id > ? AND id <= ?{sql} ORDER BY id {order} LIMIT {PAGE}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let places = [Value::from(after), Value::from(end)];
        let rows = statement
            .query_map(params_from_iter(places.into_iter().chain(values)), |row| {
                Ok((Place(row.get(0)?), row.get_ref(1)?.as_bytes().ok().and_then(event_line)))
            })?;
        rows.collect()
    }

    /// The position before the first event that `filter` selects.
    fn begin(&self, filter: &Filter) -> rusqlite::Result<Place> {
        let Some(limit) = filter.limit else { return Ok(Place::default()) };
        let Some(skipped) = limit.checked_sub(1) else { return self.last() };
        let Condition { sql, values } = Condition::of(filter);
        let sql = format!(
            "SELECT id - 1 FROM events WHERE true{sql} ORDER BY id DESC LIMIT 1 OFFSET {skipped}"
        );
        let first = self.connection.query_row(&sql, params_from_iter(values), |row| row.get(0));
        Ok(first.optional()?.map(Place).unwrap_or_default())
    }

    fn last(&self) -> rusqlite::Result<Place> {
        let sql = "SELECT coalesce(max(id), 0) FROM events";
        self.connection.query_row(sql, [], |row| row.get(0)).map(Place)
    }
}

/// The line of an event, if it is one JSON object.
fn event_line(bytes: &[u8]) -> Option<String> {
    let line = str::from_utf8(bytes).ok()?;
    let is_json = serde_json::from_str::<IgnoredAny>(line).is_ok();
    (is_json && line.starts_with('{') && !line.contains('\n')).then(|| line.to_owned())
}

pub(super) fn unreadable(path: &Path, source: impl Into<StoreError>) -> ReadError {
    ReadError::Unreadable { path: path.to_owned(), source: source.into() }
}

/// A connection and the version of its tables.
pub(super) fn connect(path: &Path, tables: &Tables) -> Result<(Connection, usize), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |connection: Connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let version = tables.checked_version(&connection)?;
        Ok((connection, version))
    };
    let usual = Connection::open_with_flags(path, flags).map_err(StoreError::from).and_then(open);
    // A process that may not write to the directory cannot share the database with a writer. If
    // there is no log, there is no writer.
    match usual {
        Err(StoreError::Sqlite(_)) if !beside(path, "-wal").exists() => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            open(Connection::open_with_flags(immutable_uri(path), flags)?)
        }
        result => result,
    }
}

fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            _ => _ = write!(uri, "%{byte:02x}"),
        }
    }
    uri + "?immutable=1"
}
