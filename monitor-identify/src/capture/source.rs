//! Bytes of a capture, read as a stream and counted.

use std::io::Read;

use super::error::CaptureError;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// A reader with a buffer that holds at least one block.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were consumed.
    start: usize,
    is_at_end: bool,
    /// Bytes that were consumed before.
    consumed: u64,
}

impl<R: Read> Source<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, is_at_end: false, consumed: 0 }
    }

    /// Where the next byte is, counted from the first of the capture.
    pub(super) const fn position(&self) -> u64 {
        self.consumed
    }

    /// The next bytes: `len` of them, or fewer at the end.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8], CaptureError> {
        while self.buffer.len() - self.start < len && !self.is_at_end {
            self.fill()?;
        }
        let end = self.buffer.len().min(self.start + len);
        Ok(&self.buffer[self.start..end])
    }

    /// Drops bytes that were peeked.
    pub(super) fn consume(&mut self, len: usize) {
        let len = len.min(self.buffer.len() - self.start);
        self.start += len;
        self.consumed += len as u64;
    }

    fn fill(&mut self) -> Result<(), CaptureError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let read = (&mut self.reader).take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        self.is_at_end = read == 0;
        Ok(())
    }
}
