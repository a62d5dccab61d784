//! Why the store cannot be used.

use std::io;

use rusqlite::ErrorCode;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file or its directory.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is kept is no JSON of ours.
    #[error("what is kept of the ledger cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The database is whole, and not ours.
    #[error("the file is the database of another program")]
    Foreign,
    /// The database was made by a later version.
    #[error(
        "the file is of schema version {found}, made by a later ghostport; this one knows {known}"
    )]
    Newer {
        /// Its version.
        found: usize,
        /// The last one that is known.
        known: usize,
    },
    /// A check of a database that was not closed found damage.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Whether the file holds no database that anybody could go on with.
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

    /// Whether there is no room: on the disk, or of what the store may take.
    pub(super) fn is_full(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        error.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }
}
