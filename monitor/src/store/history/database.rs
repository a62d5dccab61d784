//! The database of the history as its only writer uses it.

use std::path::Path;

use jiff::Timestamp;
use monitor_ledger::days::{
    ChronicleChanges, Cursor, Day, DayRecord, Holding, SavedChronicle, Series, SeriesKind,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::store::{
    database::{FileId, file_id, limit_size, open_writable, page_limit},
    error::StoreError,
    record::nanoseconds,
    schema::HISTORY,
};

/// Days of the host that are deleted at once where room is short, one of so many.
const SHARE_OF_DAYS: u64 = 16;

/// The history as it was last saved, without its days.
#[derive(Debug)]
pub struct KeptHistory {
    /// What it is beside the rest.
    pub chronicle: SavedChronicle,
    /// The counters up to which days count.
    pub cursors: Vec<(Series, Cursor)>,
    /// Holdings that have not ended.
    pub open: Vec<(u64, Holding)>,
    /// The ports that were watched.
    pub watched: Vec<u16>,
}

/// An open database.
#[derive(Debug)]
pub(in crate::store) struct HistoryDatabase {
    connection: Connection,
    file: FileId,
    max_size: u64,
}

impl HistoryDatabase {
    /// Opens or creates it.
    pub(in crate::store) fn open(path: &Path, max_size: u64) -> Result<Self, StoreError> {
        let connection = open_writable(path, &HISTORY)?;
        let mut database = Self { connection, file: file_id(path)?, max_size };
        database.set_max_size(max_size)?;
        Ok(database)
    }

    pub(super) fn set_max_size(&mut self, max_size: u64) -> Result<(), StoreError> {
        self.max_size = max_size;
        limit_size(&self.connection, max_size)
    }

    /// Whether the open file is still the one at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        file_id(path).is_ok_and(|file| file == self.file)
    }

    /// The history as it was last saved; `None` if it never was.
    pub(in crate::store) fn kept(&self) -> Result<Option<KeptHistory>, StoreError> {
        let sql = "SELECT state FROM chronicle";
        let saved: Option<String> =
            self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        let Some(saved) = saved else { return Ok(None) };
        let chronicle: SavedChronicle = serde_json::from_str(&saved)?;
        Ok(Some(KeptHistory {
            chronicle,
            cursors: self.cursors()?,
            open: self.open_holdings()?,
            watched: self.watched()?,
        }))
    }

    fn cursors(&self) -> rusqlite::Result<Vec<(Series, Cursor)>> {
        let sql = "SELECT port, interface, kind, counts FROM cursors";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let kind = SeriesKind::of_number(row.get(2)?);
            let cursor = row.get_ref(3)?.as_bytes().ok().and_then(Cursor::of_bytes);
            let (port, interface) = (row.get(0)?, row.get(1)?);
            Ok(kind.zip(cursor).map(|(kind, cursor)| (Series { port, interface, kind }, cursor)))
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    fn open_holdings(&self) -> rusqlite::Result<Vec<(u64, Holding)>> {
        let sql = "SELECT id, state FROM holdings WHERE until_ns IS NULL";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let id: i64 = row.get(0)?;
            let state = row.get_ref(1)?;
            let state = serde_json::from_slice(state.as_bytes().unwrap_or_default()).ok();
            Ok(state.map(|holding| (id as u64, holding)))
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    fn watched(&self) -> rusqlite::Result<Vec<u16>> {
        let sql = "SELECT DISTINCT port FROM watched WHERE until_ns IS NULL";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    /// Commits all changes or none.
    pub(in crate::store) fn write(&mut self, changes: &ChronicleChanges) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let state = serde_json::to_string(&changes.chronicle)?;
        transaction.execute("INSERT OR REPLACE INTO chronicle VALUES (1, ?1)", [state])?;
        write_cursors(&transaction, changes)?;
        write_days(&transaction, changes)?;
        write_times(&transaction, changes)?;
        write_holdings(&transaction, changes)?;
        Ok(transaction.commit()?)
    }

    /// Deletes days beyond the newest `days` on which an agent ran, and what happened before. The day
    /// itself does not matter: a clock that is a year ahead for a minute deletes one day.
    pub(super) fn forget(&mut self, days: u64) -> Result<(), StoreError> {
        let sql = "SELECT day FROM host ORDER BY day DESC LIMIT 1 OFFSET ?1";
        let days = i64::try_from(days).unwrap_or(i64::MAX);
        let last: Option<i32> =
            self.connection.query_row(sql, [days], |row| row.get(0)).optional()?;
        if let Some(last) = last {
            self.delete_until(Day(last))?;
        }
        let room = page_limit(self.max_size);
        if self.used()? > room * 9 / 10 {
            self.make_room()?;
        }
        Ok(())
    }

    /// Deletes some of the oldest days, but not the last one. Returns whether there were any.
    pub(super) fn make_room(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM host";
        let days: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        if days < 2 {
            return Ok(false);
        }
        let surplus = (days as u64 / SHARE_OF_DAYS).max(1) as i64;
        let sql = "SELECT day FROM host ORDER BY day LIMIT 1 OFFSET ?1";
        let last: i32 = self.connection.query_row(sql, [surplus - 1], |row| row.get(0))?;
        self.delete_until(Day(last))?;
        Ok(true)
    }

    /// Deletes this day and all before.
    fn delete_until(&mut self, day: Day) -> Result<(), StoreError> {
        let end_ns = nanoseconds(day.next().begin());
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM days WHERE day <= ?1", [day.0])?;
        transaction.execute("DELETE FROM host WHERE day <= ?1", [day.0])?;
        transaction.execute("DELETE FROM gaps WHERE until_ns < ?1", [end_ns])?;
        transaction.execute("DELETE FROM holdings WHERE until_ns < ?1", [end_ns])?;
        transaction.execute("DELETE FROM watched WHERE until_ns < ?1", [end_ns])?;
        // The last state before is still that of the first day that stays.
        let sql = "DELETE FROM states WHERE at_ns < ?1 AND EXISTS (SELECT 1 FROM states AS later
            WHERE later.port = states.port AND later.at_ns > states.at_ns AND later.at_ns < ?1)";
        transaction.execute(sql, [end_ns])?;
        transaction.commit()?;
        Ok(self.connection.execute_batch("PRAGMA incremental_vacuum")?)
    }

    fn used(&self) -> Result<u64, StoreError> {
        let pragma =
            |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((pragma("page_count")? - pragma("freelist_count")?) as u64)
    }
}

fn write_cursors(
    transaction: &Transaction<'_>,
    changes: &ChronicleChanges,
) -> rusqlite::Result<()> {
    if changes.forgets_cursors {
        transaction.execute("DELETE FROM cursors", [])?;
    }
    let mut statement =
        transaction.prepare("INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4)")?;
    for (series, cursor) in &changes.cursors {
        let Series { port, interface, kind } = series;
        statement.execute(params![port, interface, kind.number(), cursor.to_bytes()])?;
    }
    Ok(())
}

/// Merges additions into days.
fn write_days(transaction: &Transaction<'_>, changes: &ChronicleChanges) -> rusqlite::Result<()> {
    let mut read = transaction.prepare("SELECT record FROM days WHERE day = ?1 AND port = ?2")?;
    let mut write = transaction.prepare("INSERT OR REPLACE INTO days VALUES (?1, ?2, ?3)")?;
    for ((day, port), addition) in &changes.days {
        let known: Option<Vec<u8>> =
            read.query_row(params![day.0, port], |row| row.get(0)).optional()?;
        let known = known.map(|bytes| DayRecord::decode(&bytes)).transpose();
        let mut record = known.unwrap_or_else(|error| {
            tracing::error!("{day} of port {port} begins again: {error}");
            None
        });
        let record = match &mut record {
            Some(record) => {
                record.merge(addition);
                record
            }
            None => addition,
        };
        write.execute(params![day.0, port, record.encode()])?;
    }
    let mut host = transaction.prepare(
        "INSERT INTO host VALUES (?1, ?2, ?3, ?4) ON CONFLICT (day) DO UPDATE SET
            covered_ns = covered_ns + ?2, lost = lost + ?3, unkept = unkept + ?4",
    )?;
    for (day, more) in &changes.host {
        let [covered, lost, unkept] =
            [more.covered_ns, more.lost, more.unkept].map(|count| count as i64);
        host.execute(params![day.0, covered, lost, unkept])?;
    }
    Ok(())
}

fn write_times(transaction: &Transaction<'_>, changes: &ChronicleChanges) -> rusqlite::Result<()> {
    let mut gaps = transaction.prepare("INSERT INTO gaps VALUES (?1, ?2, ?3)")?;
    for gap in &changes.gaps {
        let times = [gap.since, gap.until].map(nanoseconds);
        gaps.execute(params![times[0], times[1], gap.length_ns as i64])?;
    }
    let mut states = transaction.prepare("INSERT INTO states VALUES (?1, ?2, ?3, ?4)")?;
    for change in &changes.states {
        let at_ns = nanoseconds(change.at);
        states.execute(params![change.port, at_ns, change.state.name(), change.dormant])?;
    }
    let mut begin = transaction.prepare("INSERT INTO watched VALUES (?1, ?2, NULL)")?;
    let mut end = transaction
        .prepare("UPDATE watched SET until_ns = ?2 WHERE port = ?1 AND until_ns IS NULL")?;
    for change in &changes.watched {
        let statement = if change.watched { &mut begin } else { &mut end };
        statement.execute(params![change.port, nanoseconds(change.at)])?;
    }
    Ok(())
}

fn write_holdings(
    transaction: &Transaction<'_>,
    changes: &ChronicleChanges,
) -> Result<(), StoreError> {
    let mut write =
        transaction.prepare("INSERT OR REPLACE INTO holdings VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (id, holding) in &changes.holdings {
        let until: Option<i64> = holding.until.map(nanoseconds);
        let since = nanoseconds(holding.since);
        let state = serde_json::to_string(holding)?;
        write.execute(params![*id as i64, holding.port, since, until, state])?;
    }
    Ok(())
}

/// A time of the database.
pub(super) fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::MAX)
}
