//! Reads in steps, each on a thread that can be given up.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::process::bounded_read;

/// What one step may take.
const STEP: Duration = Duration::from_secs(1);

/// Bytes that one step reads.
const STEP_BYTES: usize = 256 * 1024;

/// The steps of one look at a process. Clones share what is left.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pid: u32,
    deadline: Instant,
    bytes: Arc<AtomicU64>,
}

impl Steps {
    /// Steps that end by `deadline`.
    pub(super) fn new(pid: u32, deadline: Instant) -> Self {
        Self { pid, deadline, bytes: Arc::default() }
    }

    /// Bytes that were read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Does one step.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it takes too long, `WouldBlock` if it was not begun, and what `read` returns.
    pub(super) fn step<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        bounded_read::contents_of(self.pid, left.min(STEP), read)
    }

    /// Reads so many bytes from an offset of a file, or fewer at its end.
    pub(super) fn read_at(&self, file: &Arc<File>, at: u64, size: usize) -> io::Result<Vec<u8>> {
        let file = Arc::clone(file);
        let bytes = self.step(move || {
            let mut bytes = vec![0; size];
            let mut filled = 0;
            while filled < size {
                match file.read_at(&mut bytes[filled..], at + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        })?;
        self.count(bytes.len());
        Ok(bytes)
    }

    /// Counts bytes that a step has read.
    pub(super) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// The content of a file, no more than a limit.
pub(super) struct Contents {
    steps: Steps,
    file: Arc<File>,
    at: u64,
    limit: u64,
    ready: Vec<u8>,
    used: usize,
}

impl Contents {
    pub(super) const fn new(steps: Steps, file: Arc<File>, limit: u64) -> Self {
        Self { steps, file, at: 0, limit, ready: Vec::new(), used: 0 }
    }

    /// The next bytes; none at the end.
    pub(super) fn next_bytes(&mut self) -> io::Result<&[u8]> {
        let left = usize::try_from(self.limit.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.ready = match left {
            0 => Vec::new(),
            left => self.steps.read_at(&self.file, self.at, left.min(STEP_BYTES))?,
        };
        self.at += self.ready.len() as u64;
        self.used = 0;
        Ok(&self.ready)
    }
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.ready.len() {
            self.next_bytes()?;
        }
        let rest = &self.ready[self.used..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}
