//! A ring buffer of the kernel side, read as its records come.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd},
};

use aya::maps::{Map, MapData, RingBuf};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
};

/// Records that are taken at once: more than a ring holds, so that a turn ends although whoever
/// binds in a loop fills the ring as fast as it is read.
const BATCH: usize = 4096;

/// A ring buffer.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Whether the last turn ended before the ring was empty: nobody will wake us for the rest.
    has_more: bool,
}

impl Ring {
    /// Opens the ring buffer of this name of a loaded object. The object keeps it as well: programs
    /// that are loaded later know it by its descriptor there.
    pub fn open(object: &aya::Ebpf, name: &str) -> io::Result<Self> {
        let Some(Map::RingBuf(map)) = object.map(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let map = map.fd().as_fd().try_clone_to_owned()?;
        let map = MapData::from_fd(map).map_err(io::Error::other)?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(io::Error::other)?;
        Ok(Self { ring: readable(ring)?, has_more: false })
    }

    /// Waits until there are records, unless some were left by the last turn.
    pub async fn wait(&mut self) -> io::Result<()> {
        if self.has_more {
            yield_now().await;
        } else {
            self.ring.readable_mut().await?.clear_ready();
        }
        Ok(())
    }

    /// Hands over what is there now. A record that `decode` knows nothing of is none of ours.
    pub fn drain<T>(&mut self, decode: impl Fn(&[u8]) -> Option<T>, mut take: impl FnMut(T)) {
        let ring = self.ring.get_mut();
        self.has_more = true;
        for _ in 0..BATCH {
            // A copy, so that the ring forgets a record before anybody is told of it: an agent that
            // is killed in between tells it never, rather than twice.
            let Some(record) = ring.next().map(|bytes| decode(&bytes)) else {
                self.has_more = false;
                return;
            };
            if let Some(record) = record {
                take(record);
            }
        }
    }
}

/// Waits on the descriptor of a ring buffer, which stays the same for as long as it lives.
pub(super) fn readable<T: AsRawFd>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: aya's ring buffers own their map, hand out its one descriptor, and close it only
    // when they are dropped, after `AsyncFd` has forgotten it.
    let watched = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    watched.map_err(|error| io::Error::other(error.to_string()))
}
