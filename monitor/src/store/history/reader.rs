//! Read-only access to the history, also while the agent writes.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use monitor_ledger::days::{Day, DayRecord, Gap, Holding, HostDay, SavedChronicle};
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::time, path::history_path};
use crate::store::{
    database::regular_file,
    reader::{ReadError, connect, unreadable},
    record::nanoseconds,
    schema::HISTORY,
};

/// A time from a moment until before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub since: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// A reader of the history.
#[derive(Debug)]
pub struct HistoryReader {
    connection: Connection,
    path: PathBuf,
}

impl HistoryReader {
    /// Opens the history of the store at `store` read-only.
    ///
    /// # Errors
    /// There is none, or none that can be read.
    pub fn open(store: &Path) -> Result<Self, ReadError> {
        let path = history_path(store);
        regular_file(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Missing(path.clone()),
            _ => unreadable(&path, error),
        })?;
        let (connection, version) =
            connect(&path, &HISTORY).map_err(|source| unreadable(&path, source))?;
        if version == 0 {
            // The agent is about to create the tables.
            return Err(ReadError::Missing(path));
        }
        Ok(Self { connection, path })
    }

    /// What was last saved beside the days; `None` if nothing was yet.
    pub fn chronicle(&self) -> Result<Option<SavedChronicle>, ReadError> {
        let sql = "SELECT state FROM chronicle";
        let saved: Option<String> =
            self.read(|it| it.query_row(sql, [], |row| row.get(0)).optional())?;
        let saved = saved.map(|saved| serde_json::from_str(&saved)).transpose();
        saved.map_err(|error| unreadable(&self.path, error))
    }

    /// The ports that are watched, in ascending order.
    pub fn watched_ports(&self) -> Result<Vec<u16>, ReadError> {
        let sql = "SELECT DISTINCT port FROM watched WHERE until_ns IS NULL ORDER BY port";
        self.rows(sql, [], |row| row.get(0))
    }

    /// When a port was watched, each until now or an end.
    pub fn watched(&self, port: u16) -> Result<Vec<(Timestamp, Option<Timestamp>)>, ReadError> {
        let sql = "SELECT since_ns, until_ns FROM watched WHERE port = ?1 ORDER BY since_ns";
        self.rows(sql, [port], |row| {
            Ok((time(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(time)))
        })
    }

    /// The days of a port. One that cannot be read is left out.
    pub fn days(&self, port: u16, period: Period) -> Result<Vec<(Day, DayRecord)>, ReadError> {
        let sql =
            "SELECT day, record FROM days WHERE port = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day";
        let days = (Day::of(period.since), Day::of(period.until));
        let rows = self.rows(sql, params![port, days.0.0, days.1.0], |row| {
            let record = row.get_ref(1)?.as_bytes().ok().and_then(|it| DayRecord::decode(it).ok());
            Ok(record.map(|record| (row.get(0).map(Day), record)))
        })?;
        Ok(rows
            .into_iter()
            .flatten()
            .filter_map(|(day, record)| Some((day.ok()?, record)))
            .collect())
    }

    /// The days of the host.
    pub fn host(&self, period: Period) -> Result<Vec<(Day, HostDay)>, ReadError> {
        let sql = "SELECT day, covered_ns, lost, unkept FROM host WHERE day BETWEEN ?1 AND ?2 ORDER BY day";
        let days = [Day::of(period.since).0, Day::of(period.until).0];
        self.rows(sql, days, |row| {
            let [covered_ns, lost, unkept] =
                [row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?].map(i64::unsigned_abs);
            Ok((Day(row.get(0)?), HostDay { covered_ns, lost, unkept }))
        })
    }

    /// The gaps that end in a period or after, oldest first.
    pub fn gaps(&self, period: Period) -> Result<Vec<Gap>, ReadError> {
        let sql = "SELECT since_ns, until_ns, length_ns FROM gaps
            WHERE until_ns >= ?1 AND since_ns < ?2 ORDER BY since_ns";
        let times = [period.since, period.until].map(nanoseconds);
        self.rows(sql, times, |row| {
            let length_ns = row.get::<_, i64>(2)?.unsigned_abs();
            Ok(Gap { since: time(row.get(0)?), until: time(row.get(1)?), length_ns })
        })
    }

    /// The last state of a port up to a time: since when, its name, and whether it was dormant.
    pub fn state_at(
        &self,
        port: u16,
        at: Timestamp,
    ) -> Result<Option<(Timestamp, String, bool)>, ReadError> {
        let sql = "SELECT at_ns, state, dormant FROM states WHERE port = ?1 AND at_ns <= ?2
            ORDER BY at_ns DESC, rowid DESC LIMIT 1";
        let values = params![port, nanoseconds(at)];
        let states =
            self.rows(sql, values, |row| Ok((time(row.get(0)?), row.get(1)?, row.get(2)?)))?;
        Ok(states.into_iter().next())
    }

    /// When the state of a port changed next after a time.
    pub fn next_state(&self, port: u16, after: Timestamp) -> Result<Option<Timestamp>, ReadError> {
        let sql = "SELECT at_ns FROM states WHERE port = ?1 AND at_ns > ?2 ORDER BY at_ns LIMIT 1";
        let values = params![port, nanoseconds(after)];
        Ok(self.rows(sql, values, |row| row.get(0).map(time))?.into_iter().next())
    }

    /// Who held a port at some time of a period, oldest first; at most `most` of them, the newest.
    pub fn holdings(
        &self,
        port: u16,
        period: Period,
        most: u32,
    ) -> Result<Vec<Holding>, ReadError> {
        let sql = "SELECT state FROM holdings WHERE port = ?1 AND since_ns <= ?3
            AND (until_ns IS NULL OR until_ns >= ?2) ORDER BY since_ns DESC, id DESC LIMIT ?4";
        let [since, until] = [period.since, period.until].map(nanoseconds);
        let rows = self.rows(sql, params![port, since, until, most], |row| {
            let state = row.get_ref(0)?;
            Ok(serde_json::from_slice(state.as_bytes().unwrap_or_default()).ok())
        })?;
        Ok(rows.into_iter().rev().flatten().collect())
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ReadError> {
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map(values, read)?;
            rows.collect()
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        read(&self.connection).map_err(|error| unreadable(&self.path, error))
    }
}
