//! Tables of the store, and the migrations between their versions.

use std::{collections::BTreeSet, sync::OnceLock};

use rusqlite::{Connection, TransactionBehavior, types::ValueRef};

use super::error::StoreError;

/// `PRAGMA application_id` of a database with events and ledger ("ghpt"), and of one with the history by
/// day ("ghph").
const APPLICATIONS: [i32; 2] = [0x6768_7074, 0x6768_7068];

/// Each migrates a database of events from the version that is its index to the next one. A released
/// migration never changes.
const MIGRATIONS: [&str; 4] = [
    "
    CREATE TABLE events (
        -- In the order in which they were written; never used twice.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        -- Time of day, nanoseconds since 1970.
        time_ns INTEGER NOT NULL,
        -- Absent for what is about no port.
        port INTEGER,
        kind TEXT NOT NULL,
        -- The event as one JSON object.
        line TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_time ON events (time_ns);
    CREATE INDEX events_by_port ON events (port) WHERE port IS NOT NULL;
    -- One row: what the ledger knows beside its ports.
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        state TEXT NOT NULL
    ) STRICT;
    CREATE TABLE ledger_ports (
        port INTEGER PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT;
",
    "
    CREATE INDEX events_identified ON events (id) WHERE kind = 'identified';
",
    "
    -- One row: seconds for which this store was in use.
    CREATE TABLE age (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seconds INTEGER NOT NULL
    ) STRICT;
    INSERT INTO age VALUES (1, 0);
    -- The newest event at such a second.
    CREATE TABLE marks (
        event INTEGER PRIMARY KEY,
        seconds INTEGER NOT NULL
    ) STRICT;
    -- How long earlier events were kept is unknown.
    INSERT INTO marks SELECT max(id), 0 FROM events HAVING max(id) IS NOT NULL;
    -- Room is divided among kinds and ports.
    DROP INDEX events_identified;
    CREATE INDEX events_by_kind ON events (kind, port);
",
    "
    -- The baseline of listeners, and what is outside of it.
    CREATE TABLE listeners (
        id INTEGER PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT;
",
];

/// The same of a database of the history by day.
const HISTORY_MIGRATIONS: [&str; 1] = ["
    -- One row: what the history is beside its days, as JSON.
    CREATE TABLE chronicle (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        state TEXT NOT NULL
    ) STRICT;
    -- Counters of the kernel up to which days count.
    CREATE TABLE cursors (
        port INTEGER NOT NULL,
        interface INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        counts BLOB NOT NULL,
        PRIMARY KEY (port, interface, kind)
    ) STRICT;
    -- Days since 1970-01-01, UTC.
    CREATE TABLE days (
        day INTEGER NOT NULL,
        port INTEGER NOT NULL,
        record BLOB NOT NULL,
        PRIMARY KEY (day, port)
    ) STRICT;
    -- The days on which an agent ran.
    CREATE TABLE host (
        day INTEGER PRIMARY KEY,
        covered_ns INTEGER NOT NULL,
        lost INTEGER NOT NULL,
        unkept INTEGER NOT NULL
    ) STRICT;
    -- Times of day are nanoseconds since 1970.
    CREATE TABLE gaps (
        since_ns INTEGER NOT NULL,
        until_ns INTEGER NOT NULL,
        length_ns INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX gaps_by_end ON gaps (until_ns);
    CREATE TABLE states (
        port INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        state TEXT NOT NULL,
        dormant INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX states_by_port ON states (port, at_ns);
    CREATE TABLE watched (
        port INTEGER NOT NULL,
        since_ns INTEGER NOT NULL,
        -- Absent while the port is watched.
        until_ns INTEGER
    ) STRICT;
    CREATE INDEX watched_by_port ON watched (port);
    CREATE TABLE holdings (
        id INTEGER PRIMARY KEY,
        port INTEGER NOT NULL,
        since_ns INTEGER NOT NULL,
        -- Absent while it lasts.
        until_ns INTEGER,
        -- One JSON object.
        state TEXT NOT NULL
    ) STRICT;
    CREATE INDEX holdings_by_port ON holdings (port, since_ns);
    CREATE INDEX holdings_open ON holdings (id) WHERE until_ns IS NULL;
"];

/// The tables of a database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    application: i32,
    migrations: &'static [&'static str],
    known: &'static [OnceLock<Definitions>],
}

/// Events and the ledger.
pub(super) const EVENTS: Tables =
    Tables { application: APPLICATIONS[0], migrations: &MIGRATIONS, known: &KNOWN[0] };

/// The history by day.
pub(super) const HISTORY: Tables =
    Tables { application: APPLICATIONS[1], migrations: &HISTORY_MIGRATIONS, known: &KNOWN[1] };

/// Name and definition of everything but indices.
type Definitions = BTreeSet<(String, String)>;

/// Definitions by database and version. They are made once, because each request for events opens the
/// store.
static KNOWN: [[OnceLock<Definitions>; MIGRATIONS.len() + 1]; 2] =
    [const { [const { OnceLock::new() }; MIGRATIONS.len() + 1] }; 2];

impl Tables {
    /// Version of the tables that this build reads and writes.
    pub(super) const fn newest(&self) -> usize {
        self.migrations.len()
    }

    /// Version of the tables in the database; 0 if it has none yet.
    ///
    /// # Errors
    ///
    /// The database belongs to another program, has a later version, or cannot be read.
    fn version(&self, connection: &Connection) -> Result<usize, StoreError> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let version = usize::try_from(pragma("user_version")?).unwrap_or(usize::MAX);
        let tables: u32 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if pragma("application_id")? != self.application && (version != 0 || tables != 0) {
            return Err(StoreError::Foreign);
        }
        if version > self.newest() {
            return Err(StoreError::Newer { found: version, known: self.newest() });
        }
        Ok(version)
    }

    /// Version of the tables in the database, as [`Self::version`]. Fails if the database has a table, a
    /// view or a trigger that its version does not have, or has one of another definition: a query of
    /// such a database may run for ever, and a write may do anything. Additional indices do no harm.
    ///
    /// # Errors
    ///
    /// Those of [`Self::version`]; [`StoreError::Damaged`] names the first difference.
    pub(super) fn checked_version(&self, connection: &Connection) -> Result<usize, StoreError> {
        let version = self.version(connection)?;
        let found = definitions(connection)?;
        let difference = found.symmetric_difference(self.expected(version)?).next();
        difference.map_or(Ok(version), |(name, _)| {
            Err(StoreError::Damaged(format!("{name:?} is not what ghostport makes")))
        })
    }

    /// What a database of this version has.
    fn expected(&self, version: usize) -> Result<&'static Definitions, StoreError> {
        let known = &self.known[version];
        if let Some(definitions) = known.get() {
            return Ok(definitions);
        }
        let model = Connection::open_in_memory()?;
        self.migrate_to(&model, version)?;
        let made = definitions(&model)?;
        Ok(known.get_or_init(|| made))
    }

    /// Migrates the tables to the newest version, completely or not at all.
    pub(super) fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        if self.version(connection)? == self.newest() {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have migrated them meanwhile.
        self.migrate_to(&transaction, self.newest())?;
        Ok(transaction.commit()?)
    }

    /// Makes the tables those of a version, which is not an earlier one.
    pub(super) fn migrate_to(
        &self,
        connection: &Connection,
        target: usize,
    ) -> Result<(), StoreError> {
        for migration in &self.migrations[self.version(connection)?..target] {
            connection.execute_batch(migration)?;
        }
        connection.pragma_update(None, "application_id", self.application)?;
        connection.pragma_update(None, "user_version", target as i64)?;
        Ok(())
    }
}

fn definitions(connection: &Connection) -> rusqlite::Result<Definitions> {
    let sql = "SELECT name, sql FROM sqlite_schema
        WHERE type <> 'index' AND substr(name, 1, 7) <> 'sqlite_'";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let text = |index| row.get_ref(index).map(lossy);
        Ok((text(0)?, text(1)?))
    })?;
    rows.collect()
}

/// A text of the schema, which a foreign hand may have made anything.
fn lossy(value: ValueRef<'_>) -> String {
    value.as_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned()
}
