//! Tables of the store, and the migrations between their versions.

use rusqlite::{Connection, TransactionBehavior};

use super::error::StoreError;

/// `PRAGMA application_id` of a database of ghostport ("ghpt").
pub(super) const APPLICATION: i32 = 0x6768_7074;

/// Each migrates a database from the version that is its index to the next one. A released migration
/// never changes.
const MIGRATIONS: [&str; 2] = [
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

/// Migrates the tables to [`VERSION`], completely or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated them meanwhile.
    for migration in &MIGRATIONS[version(&transaction)?..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION as i64)?;
    Ok(transaction.commit()?)
}
