//! A reader that says what it does when that takes long. A parser that is confined starts no thread.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

/// Time before the message.
const DELAY: Duration = Duration::from_secs(1);

/// Says once on stderr, after a second, that a capture is read.
pub(super) struct Noticed<R> {
    inner: R,
    began: Instant,
    is_quiet: bool,
}

impl<R> Noticed<R> {
    pub(super) fn new(inner: R, is_quiet: bool) -> Self {
        Self { inner, began: Instant::now(), is_quiet }
    }
}

impl<R: Read> Read for Noticed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_quiet && self.began.elapsed() > DELAY {
            self.is_quiet = true;
            eprintln!("ghostport: reading the capture …");
        }
        self.inner.read(buffer)
    }
}
