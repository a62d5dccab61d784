//! Rotation of a file: it is renamed when it is full, and the oldest of those renamed are removed.
//!
//! `events.jsonl` becomes `events.jsonl.000001`, the next one `events.jsonl.000002`. No number is used
//! twice while a larger one is there, so nothing is ever replaced. logrotate numbers without zeros, so
//! neither touches a file of the other.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::config::FileLimits;

/// Digits of a number at least.
const DIGITS: usize = 6;

/// Attempts to find a number that is free, while something else takes them.
const ATTEMPTS: u64 = 8;

/// When the file of a sink is renamed.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Bytes that a file may have.
    max_size: u64,
    /// Renamed files that are kept.
    keep: usize,
    /// After a failure: the size from which on it is tried again.
    retry_from: u64,
}

impl Rotation {
    /// `None` if the size has no limit.
    pub(super) fn new(limits: &FileLimits) -> Option<Self> {
        let keep = usize::try_from(limits.keep).unwrap_or(usize::MAX);
        limits.max_size.map(|max_size| Self { max_size, keep, retry_from: 0 })
    }

    /// Whether `coming` bytes have no room in a file of this size.
    pub(super) const fn is_due(&self, size: u64, coming: u64) -> bool {
        size > 0 && size.saturating_add(coming) > self.max_size && size >= self.retry_from
    }

    /// Renames the file at `path`, which is open and has this size, and removes the oldest of those
    /// renamed before. After a failure the file grows on: no event is lost for it.
    pub(super) fn rotate(&mut self, path: &Path, file: &File, size: u64) -> io::Result<()> {
        match self.try_rotate(path, file) {
            Ok(()) => {
                self.retry_from = 0;
                Ok(())
            }
            Err(error) => {
                self.retry_from = size.saturating_add(self.max_size / 8);
                Err(error)
            }
        }
    }

    fn try_rotate(&self, path: &Path, file: &File) -> io::Result<()> {
        let renamed = renamed_files(path)?;
        let next = renamed.last().map_or(1, |(number, _)| number.saturating_add(1));
        // What was written survives a power loss that comes with the renaming.
        file.sync_data()?;
        rename_to_free(path, next)?;
        let surplus = (renamed.len() + 1).saturating_sub(self.keep);
        for (_, oldest) in renamed.iter().take(surplus) {
            // The file has been renamed: another one begins whether or not an old one can go.
            if let Err(error) = fs::remove_file(oldest)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(%error, file = %oldest.display(), "an old file of events stays");
            }
        }
        Ok(())
    }
}

/// Renames the file at `path` to the first free number from `next` on.
fn rename_to_free(path: &Path, next: u64) -> io::Result<()> {
    let mut last = Errno::EXIST;
    for number in next..next.saturating_add(ATTEMPTS) {
        let to = numbered(path, number);
        match renameat_with(CWD, path, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            // The file system does not know the flag.
            Err(Errno::INVAL) if !to.exists() => return fs::rename(path, &to),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number:0DIGITS$}"));
    name.into()
}

/// The files that were renamed, by their numbers.
fn renamed_files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let mut renamed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = number_of(&entry.file_name(), name)
            && entry.file_type()?.is_file()
        {
            renamed.push((number, entry.path()));
        }
    }
    renamed.sort_unstable();
    Ok(renamed)
}

/// The number at the end of a name, if it is that of a renamed `original`.
fn number_of(name: &OsStr, original: &OsStr) -> Option<u64> {
    let digits = name.as_bytes().strip_prefix(original.as_bytes())?.strip_prefix(b".")?;
    let is_number = digits.len() >= DIGITS && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_logrotate_are_not_ours() {
        let number = |name: &str| number_of(OsStr::new(name), OsStr::new("events.jsonl"));
        assert_eq!(number("events.jsonl.000017"), Some(17));
        assert_eq!(number("events.jsonl.1234567"), Some(1_234_567));
        for other in [
            "events.jsonl.1",
            "events.jsonl.1.gz",
            "events.jsonl.000001.gz",
            "events.jsonl",
            "events.jsonl-20261130",
            "events.jsonl.99999999999999999999999",
            "xevents.jsonl.000001",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
        assert_eq!(numbered(Path::new("/a/events.jsonl"), 17), Path::new("/a/events.jsonl.000017"));
    }
}
