//! Waiting for a descriptor to become readable.

use std::{io, os::fd::AsRawFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a descriptor with the runtime. Its owner must keep it as long as it exists, as aya's ring
/// buffers and `OwnedFd` do.
pub(crate) fn readable<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the owner hands out its one descriptor, and closes it only when it is dropped, after
    // `AsyncFd` has forgotten it.
    let watched = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    watched.map_err(|error| io::Error::other(error.to_string()))
}
