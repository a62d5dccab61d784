//! The headers of a sink's requests, by the file that `headers_file` names.
//!
//! Before each request the metadata of the file is compared with that of the last reading, and it is
//! read again after a change. Where that fails, the old headers stay in force.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use axum::http::HeaderMap;

use crate::config::{ConfigError, FileStamp, HeadersFile};

/// Headers, read again after a change of their file.
#[derive(Debug)]
pub(super) struct Headers {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    headers: HeadersFile,
    /// The file at the last reading, successful or not.
    stamp: FileStamp,
}

impl Headers {
    /// Reads the file, and warns if every user may read it.
    pub(super) fn open(path: &Path) -> Result<Self, ConfigError> {
        // Metadata first: a change in between is noticed the next time.
        let stamp = FileStamp::of(path);
        let headers = HeadersFile::load(path)?;
        if let Some(warning) = HeadersFile::exposure(path) {
            tracing::warn!("{warning}");
        }
        Ok(Self { path: path.to_owned(), current: Mutex::new(Current { headers, stamp }) })
    }

    /// Adds them to those of a request, in place of any of the same name.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = FileStamp::of(&self.path);
        if stamp != current.stamp {
            current.stamp = stamp;
            match HeadersFile::load(&self.path) {
                Ok(headers) => {
                    tracing::info!(file = %self.path.display(), "headers were read again");
                    current.headers = headers;
                }
                Err(error) => tracing::error!("the old headers stay in force: {error}"),
            }
        }
        for (name, value) in current.headers.iter() {
            headers.insert(name, value.clone());
        }
    }
}
