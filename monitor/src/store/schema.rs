//! Tables of the store, and the migrations between their versions.

use std::{collections::BTreeSet, sync::OnceLock};

use rusqlite::{Connection, TransactionBehavior, types::ValueRef};

use super::error::StoreError;

/// `PRAGMA application_id` of a database of ghostport ("ghpt").
pub(super) const APPLICATION: i32 = 0x6768_7074;

/// Each migrates a database from the version that is its index to the next one. A released migration
/// never changes.
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

/// Version of the tables that this build reads and writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Version of the tables in the database; 0 if it has none yet.
///
/// # Errors
///
/// The database belongs to another program, has a later version, or cannot be read.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let version = usize::try_from(pragma("user_version")?).unwrap_or(usize::MAX);
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if pragma("application_id")? != APPLICATION && (version != 0 || tables != 0) {
        return Err(StoreError::Foreign);
    }
    if version > VERSION {
        return Err(StoreError::Newer { found: version, known: VERSION });
    }
    Ok(version)
}

/// Name and definition of everything but indices.
type Definitions = BTreeSet<(String, String)>;

/// Version of the tables in the database, as [`version`]. Fails if the database has a table, a view or a
/// trigger that its version does not have, or has one of another definition: a query of such a database
/// may run for ever, and a write may do anything. Additional indices do no harm.
///
/// # Errors
///
/// Those of [`version`]; [`StoreError::Damaged`] names the first difference.
pub(super) fn checked_version(connection: &Connection) -> Result<usize, StoreError> {
    let version = version(connection)?;
    let found = definitions(connection)?;
    let difference = found.symmetric_difference(expected(version)?).next();
    difference.map_or(Ok(version), |(name, _)| {
        Err(StoreError::Damaged(format!("{name:?} is not what ghostport makes")))
    })
}

/// What a database of this version has. It is made once, because each request for events opens the store.
fn expected(version: usize) -> Result<&'static Definitions, StoreError> {
    static KNOWN: [OnceLock<Definitions>; VERSION + 1] = [const { OnceLock::new() }; VERSION + 1];
    let known = &KNOWN[version];
    if let Some(definitions) = known.get() {
        return Ok(definitions);
    }
    let model = Connection::open_in_memory()?;
    migrate_to(&model, version)?;
    let made = definitions(&model)?;
    Ok(known.get_or_init(|| made))
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

/// Migrates the tables to [`VERSION`], completely or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated them meanwhile.
    migrate_to(&transaction, VERSION)?;
    Ok(transaction.commit()?)
}

/// Makes the tables those of a version, which is not an earlier one.
pub(super) fn migrate_to(connection: &Connection, target: usize) -> Result<(), StoreError> {
    for migration in &MIGRATIONS[version(connection)?..target] {
        connection.execute_batch(migration)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", target as i64)?;
    Ok(())
}
