//! One sink: an open file that lines are appended to, and whether that works.

use std::{
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use super::SinkError;
use crate::config::SinkConfig;

/// What events are written to.
///
/// Nothing is buffered: a line is in the hands of the kernel once it is written, and a failure is
/// known to belong to it.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    /// `None` after a file could not be opened.
    file: Option<File>,
    /// Whether the file ends in the middle of a line.
    torn: bool,
    /// Events lost since the last one that was written.
    lost: u64,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(PathBuf),
}

impl Sink {
    pub(super) fn open(config: &SinkConfig) -> Result<Self, SinkError> {
        let target = match config {
            SinkConfig::Stdout => Target::Stdout,
            SinkConfig::File { path } => Target::File(path.clone()),
        };
        let mut sink = Self { target, file: None, torn: false, lost: 0 };
        sink.try_reopen()
            .map_err(|source| SinkError { path: sink.target.to_string().into(), source })?;
        Ok(sink)
    }

    /// Opens a file anew; what is wrong with it shows at the next event.
    pub(super) fn reopen(&mut self) {
        self.file = None;
        let _ = self.try_reopen();
    }

    /// Whether `line` was written. The log tells of the first failure and of the recovery.
    pub(super) fn write(&mut self, line: &[u8]) -> bool {
        match self.try_write(line) {
            Ok(()) => {
                if self.lost > 0 {
                    tracing::info!(
                        "events are written to {} again; {} were lost",
                        self.target,
                        self.lost
                    );
                }
                self.lost = 0;
                true
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::error!("events to {} are lost: {error}", self.target);
                }
                self.lost += 1;
                false
            }
        }
    }

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.was_moved() {
            self.file = None;
        }
        if self.file.is_none() {
            self.try_reopen()?;
        }
        match &mut self.file {
            Some(file) => append(file, line, &mut self.torn),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn try_reopen(&mut self) -> io::Result<()> {
        let file = match &self.target {
            // A duplicate, because the standard library's own handle buffers.
            Target::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Target::File(path) => {
                let file = open_file(path)?;
                self.torn = ends_within_a_line(&file)?;
                file
            }
        };
        self.file = Some(file);
        Ok(())
    }

    /// Whether the path names another file than the open one, as after a rotation.
    fn was_moved(&self) -> bool {
        let (Target::File(path), Some(file)) = (&self.target, &self.file) else { return false };
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        fs::metadata(path).map(identity).ok() != file.metadata().map(identity).ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    // Readable too, to see how the file ends.
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// Whether the last writer was stopped, by a full disk or for good, before the end of its line.
fn ends_within_a_line(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, metadata.len() - 1)?;
    Ok(last != *b"\n")
}

/// Appends `line`, on a line of its own even where the one before was cut off.
pub(super) fn append(file: &mut File, line: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        file.write_all(b"\n")?;
        *torn = false;
    }
    let mut rest = line;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                *torn = !rest.is_empty();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
