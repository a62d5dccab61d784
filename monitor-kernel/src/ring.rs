//! A ring buffer of the kernel side, read as records arrive.

use std::{fmt::Display, io, os::fd::AsFd as _, time::Duration};

use aya::maps::{Map, MapData, RingBuf};
use tokio::{
    io::unix::AsyncFd,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::readable::readable;

/// Most records of one read: more than a ring holds. A read ends although a process that binds in a
/// loop fills the ring as fast as it is read.
const BATCH: usize = 4096;

/// Shortest time between two reads; tokio's clock makes it mostly twice as long. While a record is
/// unread, the kernel does not wake the agent for the next: a process that calls in a loop pays for
/// one wakeup in this time, not for one per call.
const PAUSE: Duration = Duration::from_millis(1);

/// A ring buffer.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// End of the last read.
    last_reading: Option<Instant>,
    /// Whether a record has arrived since.
    is_woken: bool,
    /// Whether the last read left records, for which the kernel sends no wakeup.
    has_more: bool,
}

impl Ring {
    /// Opens the ring buffer of this name of a loaded object. The object keeps its own descriptor, by
    /// which programs that are loaded later refer to the ring.
    pub fn open(object: &aya::Ebpf, name: &str) -> io::Result<Self> {
        let Some(Map::RingBuf(map)) = object.map(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let map = map.fd().as_fd().try_clone_to_owned()?;
        let map = MapData::from_fd(map).map_err(io::Error::other)?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(io::Error::other)?;
        Ok(Self { ring: readable(ring)?, last_reading: None, is_woken: false, has_more: false })
    }

    /// Waits until there are records, unless the last read left some. A record that arrives after the
    /// rest is delivered at once, others after the rest or when a quarter of the ring has filled.
    /// Cancel-safe.
    pub async fn wait(&mut self) -> io::Result<()> {
        if self.has_more {
            yield_now().await;
            return Ok(());
        }
        if !self.is_woken {
            self.ring.readable_mut().await?.clear_ready();
            self.is_woken = true;
        }
        let Some(rest) = self.last_reading.map(|last| last + PAUSE) else { return Ok(()) };
        if rest > Instant::now() {
            tokio::select! {
                () = sleep_until(rest) => {}
                // A quarter of the ring has filled.
                woken = self.ring.readable_mut() => woken?.clear_ready(),
            }
        }
        Ok(())
    }

    /// Passes the records that are there now to `take`, except those that `decode` rejects.
    pub fn drain<T>(
        &mut self,
        mut decode: impl FnMut(&[u8]) -> Option<T>,
        mut take: impl FnMut(T),
    ) {
        let ring = self.ring.get_mut();
        self.has_more = true;
        self.is_woken = false;
        for _ in 0..BATCH {
            // Decoded to a copy, so that the record leaves the ring before it is delivered: an agent
            // that is killed in between loses the record rather than delivering it twice.
            let Some(record) = ring.next().map(|bytes| decode(&bytes)) else {
                self.has_more = false;
                break;
            };
            if let Some(record) = record {
                take(record);
            }
        }
        self.last_reading = Some(Instant::now());
    }
}

/// A record, unless its bytes are none: the object and the agent are built together, so that is a
/// fault of one of them.
pub(super) fn decoded_or_logged<T, E: Display>(decoded: Result<T, E>) -> Option<T> {
    decoded
        .inspect_err(|error| tracing::error!(%error, "cannot decode a record of the kernel side"))
        .ok()
}
