//! A ring buffer of the kernel side, read as its records come.

use std::{
    fmt::Display,
    io,
    os::fd::{AsFd as _, AsRawFd},
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::{Instant, sleep_until},
};

/// Records that are taken at once: more than a ring holds, so that a turn ends although whoever
/// binds in a loop fills the ring as fast as it is read.
const BATCH: usize = 4096;

/// Time between two readings, at least; by the ticks of tokio's clock, mostly twice as long. While a
/// record waits to be read, the kernel does not wake us for the next: whoever calls in a loop pays
/// for one wakeup in this time, not for one a call.
const REST: Duration = Duration::from_millis(1);

/// A ring buffer.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// When the last reading ended, if there was one.
    last_reading: Option<Instant>,
    /// Whether a record has come since.
    is_woken: bool,
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
        Ok(Self { ring: readable(ring)?, last_reading: None, is_woken: false, has_more: false })
    }

    /// Waits until there are records, unless some were left by the last turn. A record that comes
    /// after a rest is handed over at once, others after the rest, or before the ring is full. May be
    /// given up at any time.
    pub async fn wait(&mut self) -> io::Result<()> {
        if self.has_more {
            yield_now().await;
            return Ok(());
        }
        if !self.is_woken {
            self.ring.readable_mut().await?.clear_ready();
            self.is_woken = true;
        }
        let Some(rest) = self.last_reading.map(|last| last + REST) else { return Ok(()) };
        if rest > Instant::now() {
            tokio::select! {
                () = sleep_until(rest) => {}
                // A quarter of the ring has filled.
                woken = self.ring.readable_mut() => woken?.clear_ready(),
            }
        }
        Ok(())
    }

    /// Hands over what is there now. A record that `decode` knows nothing of is none of ours.
    pub fn drain<T>(&mut self, decode: impl Fn(&[u8]) -> Option<T>, mut take: impl FnMut(T)) {
        let ring = self.ring.get_mut();
        self.has_more = true;
        self.is_woken = false;
        for _ in 0..BATCH {
            // A copy, so that the ring forgets a record before anybody is told of it: an agent that
            // is killed in between tells it never, rather than twice.
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

/// Waits on the descriptor of a ring buffer, which stays the same for as long as it lives.
pub(super) fn readable<T: AsRawFd>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: aya's ring buffers own their map, hand out its one descriptor, and close it only
    // when they are dropped, after `AsyncFd` has forgotten it.
    let watched = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    watched.map_err(|error| io::Error::other(error.to_string()))
}
