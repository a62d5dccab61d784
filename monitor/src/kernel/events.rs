//! Records from the kernel side's ring buffers.

use std::{io, os::fd::AsRawFd};

use aya::maps::{Map, MapData, RingBuf};
use monitor_common::socket_event::SocketEvent;
use tokio::io::{Interest, unix::AsyncFd};

/// The ring buffer of socket events.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    /// Takes the ring buffer of a loaded object.
    pub fn open(object: &mut aya::Ebpf) -> io::Result<Self> {
        let map = object.take_map("EVENTS").ok_or(io::ErrorKind::NotFound)?;
        let ring: RingBuf<MapData> = Map::try_into(map).map_err(io::Error::other)?;
        Ok(Self { ring: readable(ring)? })
    }

    /// Waits for records and hands each to `take`. A record of another size is none of ours.
    pub async fn read(&mut self, mut take: impl FnMut(SocketEvent)) -> io::Result<()> {
        let mut guard = self.ring.readable_mut().await?;
        guard.clear_ready();
        Self::drain(guard.get_inner_mut(), &mut take);
        Ok(())
    }

    /// Hands over what is there now.
    pub fn drain_now(&mut self, mut take: impl FnMut(SocketEvent)) {
        Self::drain(self.ring.get_mut(), &mut take);
    }

    fn drain(ring: &mut RingBuf<MapData>, take: &mut impl FnMut(SocketEvent)) {
        while let Some(bytes) = ring.next() {
            if let Ok(event) = bytemuck::try_pod_read_unaligned(&bytes) {
                take(event);
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
