//! Events as lines of a file or of standard output.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use monitor_kernel::own_folder::check_file;
use rustix::fs::{OFlags, fstatvfs};

use super::{local::Local, rotation::Rotation};
use crate::{
    config::{DiskGuard, FileLimits},
    event::EncodedEvent,
};

/// An open file that lines are appended to.
///
/// Nothing is buffered, so that a failure belongs to the line that is written.
#[derive(Debug)]
pub(super) struct Lines {
    target: Target,
    /// `None` if the file could not be opened.
    file: Option<File>,
    /// Whether the file ends within a line.
    torn: bool,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(Place),
}

/// A path, and what keeps its file from filling the disk.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    rotation: Option<Rotation>,
    disk: DiskGuard,
    /// Whether a failure to rotate was logged and has not ended.
    has_failed: bool,
}

impl Local for Lines {
    fn write(&mut self, encoded: &EncodedEvent) -> io::Result<()> {
        self.append(encoded.line.as_line().as_bytes())
    }

    /// The open file stays where none can be opened in its place. What is wrong shows at the next
    /// event, if the path has become another file's.
    fn reopen(&mut self) {
        let _ = self.try_reopen();
    }
}

impl Lines {
    pub(super) fn stdout() -> io::Result<Self> {
        Self::open(Target::Stdout)
    }

    pub(super) fn file(path: PathBuf, limits: &FileLimits) -> io::Result<Self> {
        let (rotation, disk) = (Rotation::new(limits), DiskGuard::new(limits.reserve));
        Self::open(Target::File(Place { path, rotation, disk, has_failed: false }))
    }

    fn open(target: Target) -> io::Result<Self> {
        let mut lines = Self { target, file: None, torn: false };
        lines.try_reopen()?;
        Ok(lines)
    }

    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.is_usable(line.len() as u64)? {
            self.file = None;
            self.try_reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(ErrorKind::NotFound.into()) };
        append_whole(file, line, &mut self.torn)
    }

    /// Whether `coming` bytes belong into the open file: not after a rotation, this one's or another's.
    /// Fails if they would leave too little of the disk.
    fn is_usable(&mut self, coming: u64) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let Target::File(place) = &mut self.target else { return Ok(true) };
        let open = file.metadata()?;
        if !place.is_at_path(&open) {
            return Ok(false);
        }
        if open.is_file() {
            place.disk.check(fstatvfs(file)?, coming)?;
            return Ok(!place.rotate(file, open.len(), coming));
        }
        Ok(true)
    }

    fn try_reopen(&mut self) -> io::Result<()> {
        let file = match &self.target {
            // A duplicate, because the handle of the standard library buffers.
            Target::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Target::File(Place { path, .. }) => {
                let file = open_file(path)?;
                self.torn = ends_within_a_line(&file)?;
                file
            }
        };
        self.file = Some(file);
        Ok(())
    }
}

impl Place {
    /// Whether the open file is still the one at the path, and not moved by a rotation, for example.
    fn is_at_path(&self, open: &Metadata) -> bool {
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        fs::metadata(&self.path).is_ok_and(|named| identity(&named) == identity(open))
    }

    /// Whether the file was full and has been renamed.
    fn rotate(&mut self, file: &File, size: u64, coming: u64) -> bool {
        let Some(rotation) = &mut self.rotation else { return false };
        if !rotation.is_due(size, coming) {
            return false;
        }
        let rotated = rotation.rotate(&self.path, file, size);
        if let Err(error) = &rotated
            && !self.has_failed
        {
            tracing::warn!("{} grows beyond its limit: {error}", self.path.display());
        }
        self.has_failed = rotated.is_err();
        rotated.is_ok()
    }
}

/// Opens a file to append to. A link is not followed, because the folder may be another user's; that
/// of a device is (`/dev/stderr`).
fn open_file(path: &Path) -> io::Result<File> {
    let is_device = path.starts_with("/dev");
    let flags = if is_device { OFlags::empty() } else { OFlags::NOFOLLOW };
    // Readable, to see how the file ends.
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640);
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if !is_device => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    if !is_device {
        check_file(path, &file.metadata()?)?;
    }
    Ok(file)
}

/// Whether the last write ended within a line, because of a full disk or a kill.
fn ends_within_a_line(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, metadata.len() - 1)?;
    Ok(last != *b"\n")
}

/// Appends `line`, or nothing: what a full disk took of it is cut off again, so that a file never
/// ends within a line. A kill between the two leaves a torn line, as a pipe does.
fn append_whole(file: &mut File, line: &[u8], torn: &mut bool) -> io::Result<()> {
    let failed = match append(file, line, torn) {
        Ok(()) => return Ok(()),
        Err(failed) => failed,
    };
    if failed.torn_bytes > 0 && cut_off(file, failed.torn_bytes).is_ok() {
        *torn = false;
    }
    Err(failed.error)
}

/// Removes the last bytes of a file: those of an incomplete line, which has no other line behind it,
/// because nothing else appends where the disk is full.
fn cut_off(file: &File, bytes: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    let length = metadata.len().checked_sub(bytes).filter(|_| metadata.is_file());
    file.set_len(length.ok_or(ErrorKind::InvalidInput)?)
}

/// Why a line was not written whole.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) error: io::Error,
    /// How much of the line was written.
    torn_bytes: u64,
}

/// Appends `line`. After a line that was cut off it begins a new one.
pub(super) fn append(file: &mut File, line: &[u8], torn: &mut bool) -> Result<(), AppendError> {
    if *torn {
        file.write_all(b"\n").map_err(|error| AppendError { error, torn_bytes: 0 })?;
        *torn = false;
    }
    let mut rest = line;
    while !rest.is_empty() {
        let error = match file.write(rest) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(written) => {
                rest = &rest[written..];
                *torn = !rest.is_empty();
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return Err(AppendError { error, torn_bytes: (line.len() - rest.len()) as u64 });
    }
    Ok(())
}
