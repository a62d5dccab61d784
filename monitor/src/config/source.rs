//! The bytes of a file, within bounds and as text.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use monitor_kernel::capabilities;
use rustix::fs::{Mode, OFlags, makedev, open};

use super::{
    error::ConfigError,
    yaml::{Position, Problem},
};

/// Enough for every port as a mapping with every key, and a bound for what is not meant.
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads the whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = read_file(path).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// Reads a regular file, or `/dev/null`, to its end, or a byte more than a configuration may have. It
/// waits for no writer: a FIFO in the place of a file is an error.
///
/// # Errors
/// The file cannot be opened or read, or is of another kind.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // An error shows a part of the file: a program with capabilities of its own (`setcap`) must not
    // read for its user what is closed to them.
    capabilities::as_the_user(|| read_regular(path))?
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() && !is_null(&metadata) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether it is `/dev/null`, which is an empty configuration.
fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3)
}

/// The text in `bytes`, or the place of the first byte that is not UTF-8.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let last_line = valid.rsplit('\n').next().unwrap_or_default();
        let position = Position {
            line: valid.matches('\n').count() as u32 + 1,
            column: last_line.chars().count() as u32 + 1,
        };
        Problem::new(position, "a byte that is not UTF-8", "text in UTF-8")
    })
}
