//! Errors of the store.

use std::io;

use rusqlite::ErrorCode;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An error of SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// An error of the file or its directory.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The saved ledger is not valid.
    #[error("the saved ledger cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The database belongs to another program.
    #[error("the file is the database of another program")]
    Foreign,
    /// The database was made by a later version.
    #[error(
        "the file is of schema version {found}, made by a later ghostport; this one knows {known}"
    )]
    Newer {
        /// Version of the database.
        found: usize,
        /// Latest version that this build knows.
        known: usize,
    },
    /// A check of a database that was not closed found damage.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Whether the file has no usable database.
    pub(super) fn is_corruption(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }

    /// Whether nothing may be added, because the rest of the disk is left to others.
    pub(super) fn is_below_reserve(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether there is no room, on the disk or within the size limit of the store.
    pub(super) fn is_full(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        error.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }
}
